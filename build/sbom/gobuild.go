package sbom

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
)

const (
	minGo      = 64 << 10 // bytes of the smallest Go program
	maxGoRead  = 16 << 20 // bytes of one that are read
	maxModules = 20_000   // of one program
)

// programs finds the Go programs and libraries of the tree.
func (s *scanner) programs() error {
	linked := map[*tree.Node]bool{}
	for name, n := range s.in.Tree.Walk() {
		if !n.Mode.IsRegular() || n.Content == nil || n.Size() < minGo {
			continue
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if n.Links() > 1 {
			if linked[n] {
				continue
			}
			linked[n] = true
		}
		if err := s.program(n.Content, "/"+name); err != nil {
			return fmt.Errorf("reading %q: %w", "/"+name, err)
		}
	}
	return nil
}

// program reads the build information of a file, if it is a Go program.
func (s *scanner) program(c tree.Content, path string) error {
	is, err := isGo(c)
	if err != nil || !is {
		return err
	}
	f := s.open(c, maxGoRead)
	defer f.Close()
	info, err := buildinfo.Read(f)
	if f.err != nil {
		return f.err
	}
	if err == nil {
		err = s.modules(info, path)
	}
	if err != nil {
		s.warn("build information of the Go program %s cannot be read: %v; modules of it are missing", path, err)
	}
	return nil
}

// isGo tells whether an ELF file has a section of Go's linker. What has no table of
// sections is not looked into.
func isGo(c tree.Content) (bool, error) {
	_, sections, err := elfread.Sections(c)
	var format *elfread.FormatError
	if errors.Is(err, elfread.ErrNoELF) || errors.As(err, &format) {
		return false, nil
	}
	for _, s := range sections {
		if s.Name == ".go.buildinfo" {
			return true, nil
		}
	}
	return false, err
}

// modules adds the main module, which needs all others, its dependencies and the
// standard library.
func (s *scanner) modules(info *debug.BuildInfo, path string) error {
	if len(info.Deps) > maxModules {
		return fmt.Errorf("%d modules, the limit is %d", len(info.Deps), maxModules)
	}
	// The version may be followed by experiments: "go1.26.8 X:nodwarf5".
	version, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	all := []Package{goPackage("stdlib", version)}
	for _, m := range info.Deps {
		if m != nil {
			all = append(all, modulePackage(m))
		}
	}
	var needs []string
	for _, p := range all {
		if err := s.add(p, path); err != nil {
			return err
		}
		needs = append(needs, p.provides...)
	}
	if info.Main.Path == "" {
		return nil
	}
	main := modulePackage(&info.Main)
	main.requires = needs
	return s.add(main, path)
}

// modulePackage is the module that was compiled: what replaced another counts, unless
// it is a folder, which has neither a name nor a version.
func modulePackage(m *debug.Module) Package {
	if r := m.Replace; r != nil {
		if r.Version == "" || strings.HasPrefix(r.Path, ".") || strings.HasPrefix(r.Path, "/") {
			return goPackage(m.Path, "")
		}
		m = r
	}
	return goPackage(m.Path, m.Version)
}

func goPackage(path, version string) Package {
	if version == "(devel)" {
		version = ""
	}
	p := Package{Kind: KindGo, Name: path, Version: version}
	p.provides = []string{p.purl(Distro{}).String()}
	return p
}
