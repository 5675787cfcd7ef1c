package preflight

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// Limits of the loaders' configuration, beyond which it is not read.
const (
	maxConf     = 64 << 10 // bytes of one file
	maxConfs    = 256      // files that /etc/ld.so.conf includes
	maxConfDirs = 1024
	maxCache    = 4 << 20 // bytes of /etc/ld.so.cache
)

// loaderConf is what the tree's files tell the loaders.
type loaderConf struct {
	dirs  []string // of /etc/ld.so.conf
	cache []byte   // /etc/ld.so.cache
	musl  []string // of /etc/ld-musl-ARCH.path; nil without that file
}

func (c *checker) readConf(muslArch string) (*loaderConf, error) {
	if c.conf != nil {
		return c.conf, nil
	}
	l := &loaderConf{}
	files := 0
	if err := c.ldConf(l, "/etc/ld.so.conf", &files); err != nil {
		return nil, err
	}
	var err error
	if l.cache, err = c.text("/etc/ld.so.cache", maxCache); err != nil {
		return nil, err
	}
	text, err := c.text("/etc/ld-musl-"+muslArch+".path", maxConf)
	if err != nil {
		return nil, err
	}
	if text != nil {
		l.musl = []string{}
		for _, dir := range split(strings.TrimSpace(string(text)), ":\n") {
			if strings.HasPrefix(dir, "/") && len(l.musl) < maxDirs {
				l.musl = append(l.musl, dir)
			}
		}
	}
	c.conf = l
	return l, nil
}

// text reads a file of the tree: nil when there is none, and up to limit bytes of it
// otherwise.
func (c *checker) text(name string, limit int64) ([]byte, error) {
	p, wrong := c.find(name)
	if wrong != nil || !p.node.Mode.IsRegular() {
		return nil, nil
	}
	if p.node.Content == nil {
		return []byte{}, nil
	}
	f, err := p.node.Content.Open()
	if err != nil {
		return nil, fmt.Errorf("reading %q in the artifact: %w", name, err)
	}
	defer f.Close()
	b := make([]byte, min(limit, p.node.Content.Size()))
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %q in the artifact: %w", name, err)
	}
	return b[:n], nil
}

// ldConf reads one file of ldconfig(8)'s configuration and what it includes.
func (c *checker) ldConf(l *loaderConf, name string, files *int) error {
	if *files++; *files > maxConfs {
		return nil
	}
	text, err := c.text(name, maxConf)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r\n,:", r) })
		switch {
		case len(words) == 0 || words[0] == "hwcap":
			continue
		case words[0] == "include":
			for _, pattern := range words[1:] {
				if !path.IsAbs(pattern) {
					pattern = path.Join(path.Dir(name), pattern)
				}
				for _, file := range c.glob(pattern) {
					if err := c.ldConf(l, file, files); err != nil {
						return err
					}
				}
			}
			continue
		}
		for _, dir := range words {
			dir, _, _ = strings.Cut(dir, "=") // "=libc6" names a kind of library
			if path.IsAbs(dir) && len(l.dirs) < maxConfDirs {
				l.dirs = append(l.dirs, dir)
			}
		}
	}
	return nil
}

// glob finds the files of the tree that an absolute pattern matches, in byte order.
func (c *checker) glob(pattern string) []string {
	names := []string{""}
	for part := range strings.SplitSeq(strings.Trim(pattern, "/"), "/") {
		var next []string
		for _, dir := range names {
			if !strings.ContainsAny(part, `*?[\`) {
				next = append(next, dir+"/"+part)
				continue
			}
			p, wrong := c.find(dir + "/")
			if wrong != nil {
				continue
			}
			for base := range p.node.Children() {
				if ok, err := path.Match(part, base); err == nil && ok && len(next) < maxConfs {
					next = append(next, dir+"/"+base)
				}
			}
		}
		names = next
	}
	return names
}
