package dockertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A part is a file of the machine's and its place in Go's image.
type part struct{ name, file string }

// parts collects what Go's image has; a name is there once.
type parts struct {
	files                        map[string]string // by names
	goroot, modules, cache, root string
}

// buildFlags are those of the Dockerfile that a package's compilation depends on.
var buildFlags = []string{"-trimpath", "-buildvcs=false"}

// built are what the Dockerfile builds.
var built = []string{"./cmd/fledge", "./internal/actionimage/tools/unpack"}

// goParts compiles what the Dockerfile's programs are made of and lists what building it takes: the
// compiler, the packages' files, what Go asks of modules, and the compiled packages.
// All of Go and of the modules would be a gigabyte.
func goParts(ctx context.Context) ([]part, error) {
	env, err := output(exec.CommandContext(ctx, "go", "env", "GOROOT", "GOMODCACHE", "GOCACHE", "GOMOD"))
	if err != nil {
		return nil, err
	}
	words := strings.Split(env, "\n")
	if len(words) != 4 {
		return nil, fmt.Errorf("go env prints %q", env)
	}
	p := &parts{map[string]string{}, words[0], words[1], words[2], filepath.Dir(words[3])}
	const format = `{{.Dir}}|{{with .Module}}{{.GoMod}}{{end}}|{{.BuildID}}|{{range .EmbedFiles}}{{.}}:{{end}}`
	packages, err := p.list(ctx, append(append([]string{"-deps", "-export", "-f", format}, buildFlags...), built...)...)
	if err != nil {
		return nil, err
	}
	modules, err := p.list(ctx, "-m", "-f", "|{{.GoMod}}||", "all")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(packages + "\n" + modules) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		if len(fields) != 4 {
			continue
		}
		for _, err := range []error{p.folder(fields[0]), p.module(fields[1]), p.embedded(fields[0], fields[3])} {
			if err != nil {
				return nil, err
			}
		}
		p.compiled(fields[2])
	}
	if err := p.toolchain(); err != nil {
		return nil, err
	}
	var all []part
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		all = append(all, part{name, p.files[name]})
	}
	return all, nil
}

// list asks Go about packages, as the Dockerfile builds them.
func (p *parts) list(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Dir = p.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local")
	return output(cmd)
}

// add adds a file of Go's, of the modules' or of the cache's; there are no others.
func (p *parts) add(file string) {
	for _, place := range []struct{ from, to string }{{p.goroot, "usr/local/go"}, {p.modules, "go/pkg/mod"}, {p.cache, "root/.cache/go-build"}} {
		if below, ok := strings.CutPrefix(file, place.from+string(filepath.Separator)); ok {
			p.files[path.Join(place.to, filepath.ToSlash(below))] = file
			return
		}
	}
}

// folder adds the files of a package, but for tests.
func (p *parts) folder(dir string) error {
	if dir == "" {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasSuffix(e.Name(), "_test.go") {
			p.add(filepath.Join(dir, e.Name()))
		}
	}
	return nil
}

func (p *parts) embedded(dir, names string) error {
	for name := range strings.SplitSeq(strings.TrimSuffix(names, ":"), ":") {
		if name != "" {
			p.add(filepath.Join(dir, filepath.FromSlash(name)))
		}
	}
	return nil
}

// module adds what Go keeps of a module beside its files: go.mod, its hash and the
// version's.
func (p *parts) module(gomod string) error {
	base, ok := strings.CutSuffix(gomod, ".mod")
	if !ok || !strings.HasPrefix(base, p.modules) {
		return nil
	}
	for _, suffix := range []string{".mod", ".info", ".ziphash"} {
		if _, err := os.Stat(base + suffix); errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		p.add(base + suffix)
	}
	return nil
}

// toolchain adds what Go itself needs.
func (p *parts) toolchain() error {
	tools, err := output(exec.Command("go", "env", "GOTOOLDIR"))
	if err != nil {
		return err
	}
	for _, name := range []string{"compile", "asm", "link"} {
		p.add(filepath.Join(tools, name))
	}
	for _, name := range []string{"bin/go", "VERSION", "go.env", "src/go.mod", "src/vendor/modules.txt"} {
		p.add(filepath.Join(p.goroot, name))
	}
	return p.folder(filepath.Join(p.goroot, "pkg/include"))
}

// compiled adds a package's entries in Go's build cache: from there it need not be
// compiled once more in the image, which takes minutes for all.
//
// That the cache's entries are named by the action, and that its output's name is in
// there, is how Go does it today. Where it does not fit, less is found and the build in
// the image takes longer; it is right in any case, since Go looks entries up by
// everything that they depend on.
func (p *parts) compiled(buildID string) {
	action, _, _ := strings.Cut(buildID, "/")
	prefix, err := base64.RawURLEncoding.DecodeString(action)
	if err != nil || len(prefix) == 0 {
		return
	}
	matches, _ := filepath.Glob(filepath.Join(p.cache, fmt.Sprintf("%02x", prefix[0]), hex.EncodeToString(prefix)+"*-a"))
	for _, match := range matches {
		id, err := hex.DecodeString(strings.TrimSuffix(filepath.Base(match), "-a"))
		if err != nil {
			continue
		}
		printed := sha256.Sum256([]byte("subkey:" + string(id) + "stdout"))
		p.entry(hex.EncodeToString(id))
		p.entry(hex.EncodeToString(printed[:]))
	}
}

// entry adds an action's entry, and what it made.
func (p *parts) entry(action string) {
	file := filepath.Join(p.cache, action[:2], action+"-a")
	text, err := os.ReadFile(file)
	fields := strings.Fields(string(text)) // v1 ACTION OUTPUT size time
	if err != nil || len(fields) < 3 || len(fields[2]) < 2 {
		return
	}
	made := filepath.Join(p.cache, fields[2][:2], fields[2]+"-d")
	if _, err := os.Stat(made); err != nil {
		return
	}
	p.add(file)
	p.add(made)
}
