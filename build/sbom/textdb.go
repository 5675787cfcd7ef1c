package sbom

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of databases.
const (
	maxDatabase = 64 << 20 // bytes of a text database
	maxLine     = 1 << 20  // bytes of one of its lines
	maxField    = 1 << 10  // bytes of a name, version or architecture
	maxPackages = 20_000   // of a tree, from all databases: more than fit into a document
	maxRelated  = 20_000   // capabilities that one package provides, and that it needs
)

var errPackages = fmt.Errorf("more than %d packages", maxPackages)

// eachLine calls f with every line, without its end.
func eachLine(r io.Reader, f func(line string) error) error {
	limited := &io.LimitedReader{R: r, N: maxDatabase + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if err := f(lines.Text()); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("a line of more than %d bytes", maxLine)
	case err != nil:
		return readError{err}
	case limited.N == 0:
		return fmt.Errorf("more than %d bytes", maxDatabase)
	}
	return nil
}

// readError is a content that cannot be read: not the database's fault.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// parseAPK reads apk's database of installed packages: a letter, a colon and a value
// on each line, an empty line after each package.
// https://wiki.alpinelinux.org/wiki/Apk_spec
func parseAPK(r io.Reader, add func(Package) error) error {
	p := Package{Kind: KindAPK}
	end := func() error {
		done := p
		p = Package{Kind: KindAPK}
		if done.Name == "" && done.Version == "" {
			return nil
		}
		return add(done)
	}
	err := eachLine(r, func(line string) error {
		if line == "" {
			return end()
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok || len(key) != 1 {
			return fmt.Errorf("a line %q that is none of its own", shorten(line))
		}
		setAPK(&p, key[0], value)
		return nil
	})
	if err != nil {
		return err
	}
	return end()
}

func setAPK(p *Package, key byte, value string) {
	switch key {
	case 'P':
		p.Name = value
	case 'V':
		p.Version = value
	case 'A':
		p.Arch = value
	case 'L':
		p.Licence = parseLicence(value)
	case 'U':
		p.Homepage = value
	case 'm':
		p.Supplier = person(value)
	case 'o':
		if value != p.Name {
			p.Upstream = value
		}
	case 'D':
		p.requires = capabilities(value, "<>=~")
	case 'p':
		p.provides = capabilities(value, "<>=~")
	}
}

// capabilities are words without the versions that follow an operator. What begins
// with "!" is a conflict.
func capabilities(text, operators string) []string {
	var all []string
	for word := range strings.FieldsSeq(text) {
		if at := strings.IndexAny(word, operators); at >= 0 {
			word = word[:at]
		}
		if word != "" && word[0] != '!' && len(all) < maxRelated {
			all = append(all, word)
		}
	}
	return all
}

// parseDpkg reads dpkg's status file: stanzas of deb822(5). needStatus says that a
// stanza without a Status is of no installed package.
func parseDpkg(r io.Reader, needStatus bool, add func(Package) error) error {
	s := stanza{}
	end := func() error {
		p, ok, err := s.pkg(needStatus)
		s = stanza{}
		if err != nil || !ok {
			return err
		}
		return add(p)
	}
	key := ""
	err := eachLine(r, func(line string) error {
		switch {
		case strings.TrimSpace(line) == "":
			return end()
		case line[0] == ' ' || line[0] == '\t': // goes on
			if key == "" {
				return fmt.Errorf("a line %q before any field", shorten(line))
			}
			return nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return fmt.Errorf("a line %q that is no field", shorten(line))
		}
		key = strings.ToLower(name)
		s.set(key, strings.TrimSpace(value))
		return nil
	})
	if err != nil {
		return err
	}
	return end()
}

// stanza holds the fields of one package that are of interest.
type stanza map[string]string

func (s stanza) set(key, value string) {
	switch key {
	case "package", "version", "architecture", "status", "source", "maintainer", "homepage", "depends", "pre-depends", "provides":
		s[key] = value
	}
}

// pkg is the stanza's package, if it is installed.
func (s stanza) pkg(needStatus bool) (Package, bool, error) {
	if len(s) == 0 {
		return Package{}, false, nil
	}
	status, ok := s["status"]
	if !ok && needStatus {
		return Package{}, false, fmt.Errorf("package %q without a status", shorten(s["package"]))
	}
	if ok && !hasFiles(status) {
		return Package{}, false, nil
	}
	p := Package{
		Kind: KindDeb, Name: s["package"], Version: s["version"], Arch: s["architecture"],
		Homepage: s["homepage"], Supplier: person(s["maintainer"]),
		requires: debNames(s["pre-depends"] + "," + s["depends"]), provides: debNames(s["provides"]),
	}
	if source, version, _ := strings.Cut(s["source"], " "); source != "" {
		p.Upstream = source
		if v := strings.Trim(version, " ()"); v != "" {
			p.Upstream += "@" + v
		}
	}
	return p, true, nil
}

// hasFiles tells whether a status says that the package's files are there: it is
// installed, or unpacked and not configured yet.
func hasFiles(status string) bool {
	words := strings.Fields(status)
	if len(words) != 3 {
		return false
	}
	switch words[2] {
	case "installed", "triggers-awaited", "triggers-pending", "unpacked", "half-configured":
		return true
	}
	return false
}

// debNames are the names in a list of relations: "a (>= 1) | b, c:any".
func debNames(text string) []string {
	var all []string
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '|' }) {
		name := strings.TrimSpace(part)
		if at := strings.IndexAny(name, " :(["); at >= 0 {
			name = name[:at]
		}
		if name != "" && len(all) < maxRelated {
			all = append(all, name)
		}
	}
	return all
}

// person is "NAME <ADDRESS>" as SPDX writes it.
func person(s string) string {
	name, address, ok := strings.Cut(s, "<")
	name = strings.TrimSpace(name)
	if name == "" || len(s) > maxField {
		return ""
	}
	if address = strings.TrimRight(address, "> "); ok && address != "" {
		return "Person: " + name + " (" + address + ")"
	}
	return "Person: " + name
}

// shorten is for values in messages.
func shorten(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
