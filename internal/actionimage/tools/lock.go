package tools

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Limits of what is read, in bytes.
const (
	MaxLock     = 1 << 20
	MaxPackage  = 16 << 20
	MaxInflated = 256 << 20
	MaxFile     = 16 << 20
)

// A Package is one .deb and what is taken of it.
type Package struct {
	Arch, Name, Version string
	SHA256              string // 64 hexadecimal digits
	Size                int64  // bytes
	Path                string // below the archive, not escaped
	Files               []string
}

// File is the package's name in a folder of packages.
func (p Package) File() string { return path.Base(p.Path) }

// A Lock is a list of packages, in the order of the file.
type Lock struct{ Packages []Package }

//go:embed tools.lock
var committed []byte

// Committed is the lock of this version.
func Committed() (*Lock, error) { return Parse("tools.lock", committed) }

// Parse reads a lock. Errors begin with the name and a line's number.
func Parse(name string, text []byte) (*Lock, error) {
	if len(text) > MaxLock {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", name, len(text), MaxLock)
	}
	lock := &Lock{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, MaxLock+1)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := lock.line(strings.Split(line, " ")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(lock.Packages) == 0 {
		return nil, fmt.Errorf("%s: no packages", name)
	}
	return lock, nil
}

func (l *Lock) line(words []string) error {
	switch {
	case words[0] == "package" && len(words) == 7:
		p := Package{Arch: words[1], Name: words[2], Version: words[3], SHA256: words[4], Path: words[6]}
		if sum, err := hex.DecodeString(p.SHA256); err != nil || len(sum) != 32 || strings.ToLower(p.SHA256) != p.SHA256 {
			return fmt.Errorf("%q is not a SHA-256 digest", p.SHA256)
		}
		var err error
		if p.Size, err = strconv.ParseInt(words[5], 10, 64); err != nil || p.Size < 1 || p.Size > MaxPackage {
			return fmt.Errorf("size %q: want 1 to %d bytes", words[5], MaxPackage)
		}
		if !fs.ValidPath(p.Path) || !strings.HasSuffix(p.Path, ".deb") {
			return fmt.Errorf("%q is not the path of a package", p.Path)
		}
		if slices.ContainsFunc(l.Packages, func(o Package) bool { return o.Arch == p.Arch && o.Name == p.Name }) {
			return fmt.Errorf("%s for %s is there twice", p.Name, p.Arch)
		}
		l.Packages = append(l.Packages, p)
	case words[0] == "file" && len(words) == 2:
		if len(l.Packages) == 0 {
			return errors.New("a file before the first package")
		}
		if !fs.ValidPath(words[1]) || words[1] == "." {
			return fmt.Errorf("%q is not the path of a file", words[1])
		}
		p := &l.Packages[len(l.Packages)-1]
		if slices.Contains(p.Files, words[1]) {
			return fmt.Errorf("%q is there twice", words[1])
		}
		p.Files = append(p.Files, words[1])
	default:
		return errors.New(`want "package ARCH NAME VERSION SHA256 SIZE PATH" or "file PATH"`)
	}
	return nil
}

// Format is the text that Parse reads.
func (l *Lock) Format() []byte {
	var out bytes.Buffer
	out.WriteString("# Programs of others in the action's image, from Debian 12. \"make tools-lock\" renews this file.\n")
	for _, p := range l.Packages {
		fmt.Fprintf(&out, "package %s %s %s %s %d %s\n", p.Arch, p.Name, p.Version, p.SHA256, p.Size, p.Path)
		for _, name := range p.Files {
			fmt.Fprintf(&out, "file %s\n", name)
		}
	}
	return out.Bytes()
}

// Versions tells each package's version by architecture and name, for a comparison.
func (l *Lock) Versions() map[string]string {
	versions := map[string]string{}
	for _, p := range l.Packages {
		versions[p.Arch+" "+p.Name] = p.Version
	}
	return versions
}
