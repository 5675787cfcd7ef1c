package tools

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ulikunitz/xz"
)

// A File is one of a package's: a regular file, or a symbolic link.
type File struct {
	Name   string // relative, clean, with slashes
	Mode   int64  // 0644 or 0755; 0777 for a link
	Target string // of a link; "" for a file
	Body   []byte
}

// Read lists the files of a package for which take returns true, in the archive's order.
// Folders are not listed.
func Read(deb []byte, take func(name string) bool) ([]File, error) {
	return read(deb, take, MaxInflated)
}

func read(deb []byte, take func(name string) bool, most int64) ([]File, error) {
	data, err := member(deb, "data.tar.")
	if err != nil {
		return nil, err
	}
	plain, err := xz.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("data.tar.xz: %w", err)
	}
	limited := &io.LimitedReader{R: plain, N: most + 1}
	files, err := entries(tar.NewReader(limited), take)
	if limited.N == 0 {
		return nil, fmt.Errorf("data.tar.xz: more than %d bytes", most)
	}
	if err != nil {
		return nil, fmt.Errorf("data.tar.xz: %w", err)
	}
	return files, nil
}

func entries(r *tar.Reader, take func(name string) bool) ([]File, error) {
	var files []File
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir || !take(name) {
			continue
		}
		f := File{Name: name, Mode: h.Mode, Target: h.Linkname}
		switch {
		case h.Typeflag == tar.TypeSymlink && h.Linkname != "":
			f.Mode = 0o777
		case h.Typeflag != tar.TypeReg:
			return nil, fmt.Errorf("%q is neither a file nor a symbolic link", name)
		case h.Mode != 0o644 && h.Mode != 0o755:
			return nil, fmt.Errorf("%q has mode %04o; want 0644 or 0755", name, h.Mode)
		case h.Size > MaxFile:
			return nil, fmt.Errorf("%q has %d bytes, more than %d", name, h.Size, MaxFile)
		default:
			f.Target = ""
			if f.Body, err = io.ReadAll(r); err != nil {
				return nil, err
			}
		}
		files = append(files, f)
	}
}

// member finds the part of an ar archive whose name begins so. It has to be xz.
func member(deb []byte, prefix string) ([]byte, error) {
	const magic, header = "!<arch>\n", 60
	rest, ok := bytes.CutPrefix(deb, []byte(magic))
	if !ok {
		return nil, errors.New("not a Debian package: no ar archive")
	}
	for len(rest) >= header {
		name := strings.TrimRight(string(rest[:16]), " /")
		size, err := strconv.ParseInt(strings.TrimRight(string(rest[48:58]), " "), 10, 64)
		if err != nil || size < 0 || size > int64(len(rest)-header) || string(rest[58:60]) != "`\n" {
			return nil, fmt.Errorf("member %q: damaged header, or cut off", name)
		}
		body := rest[header : header+size]
		if kind, ok := strings.CutPrefix(name, prefix); ok {
			if kind != "xz" {
				return nil, fmt.Errorf("%s: the compression is not xz, which Debian 12 has", name)
			}
			return body, nil
		}
		rest = rest[min(header+size+size%2, int64(len(rest))):]
	}
	return nil, fmt.Errorf("no member %s*", prefix)
}
