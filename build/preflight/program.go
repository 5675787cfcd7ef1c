package preflight

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
)

const (
	// lineSize is how much of a "#!" line the kernel looks at, in bytes
	// (BINPRM_BUF_SIZE).
	lineSize = 256
	// maxScripts is how many scripts may be each other's interpreters before the kernel
	// answers ELOOP.
	maxScripts = 5
)

// kind names a node's type for messages.
func kind(n *tree.Node) string {
	switch n.Mode.Type() {
	case 0:
		return "file"
	case fs.ModeDir:
		return "folder"
	case fs.ModeNamedPipe:
		return "named pipe"
	case fs.ModeSocket:
		return "socket"
	case fs.ModeDevice:
		return "block device"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "character device"
	}
	return "special file"
}

// start says why a program does not start, nil if nothing speaks against it.
func (c *checker) start(name string) ([]problem, error) { return c.exec(name, 0) }

// exec does what execve(2) does with a name. scripts are the ones on the way here.
func (c *checker) exec(name string, scripts int) ([]problem, error) {
	if err := c.spend(1); err != nil {
		return nil, err
	}
	at, wrong := c.executable(name)
	if wrong != nil {
		return wrong.of(name, "name a program of the artifact"), nil
	}
	f, err := c.elf(at.node)
	switch {
	case errors.Is(err, elfread.ErrNoELF):
		return c.script(name, at.node, scripts)
	case isFinding(err):
		return problemf("copy or build it again; it may have been cut off", "%q is a broken ELF file: %v", name, err), nil
	case err != nil:
		return nil, err
	}
	if wrong := c.loadable(f); wrong != nil {
		return wrong.of(name, "name a program of the artifact"), nil
	}
	if f.Interp == "" {
		return nil, nil
	}
	loader, wrong, err := c.loader(f)
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		return problemf(wrong.fix, "%q needs the loader %q, which %s", name, f.Interp, wrong.is), nil
	}
	return c.libraries(name, at, f, loader)
}

// executable finds a regular file with an execute bit: root needs only one of them.
func (c *checker) executable(name string) (place, *fault) {
	at, wrong := c.find(name)
	switch {
	case wrong != nil:
		return at, wrong
	case !at.node.Mode.IsRegular():
		return at, faultf("", "is a %s, not a program", kind(at.node))
	case at.node.Mode&0o111 == 0:
		return at, faultf("map it to /usr/bin, whose files are made executable, or chmod it in the image", "is not executable (mode %04o)", at.node.Mode.Perm())
	}
	return at, nil
}

// loadable says why the kernel does not load an ELF file as a program.
func (c *checker) loadable(f *elfread.File) *fault {
	switch {
	case !c.runs(f.Header):
		return c.wrongArch(f.Header)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		return faultf("", "is an ELF file of type %v, not a program", f.Type)
	case f.Loads == 0:
		return faultf("copy or build it again", "is an ELF file with nothing to load")
	case f.Entry == 0:
		return faultf("", "is a library, not a program: it has no entry point")
	}
	return nil
}

// loader finds the program interpreter.
func (c *checker) loader(f *elfread.File) (*object, *fault, error) {
	const fix = "link the program statically (Go: CGO_ENABLED=0; C: -static), or build it for the C library that the artifact has"
	at, wrong := c.executable(f.Interp)
	if wrong != nil {
		return nil, wrong.orFix(fix), nil
	}
	l, err := c.elf(at.node)
	switch {
	case isFinding(err):
		return nil, faultf("install the C library again", "is none: %v", err), nil
	case err != nil:
		return nil, nil, err
	case l.Class != f.Class || l.Machine != f.Machine || l.Data != f.Data:
		return nil, faultf(fix, "is for %s", archName(l.Header)), nil
	}
	return &object{path: f.Interp, place: at, file: l}, nil, nil
}

// script checks a file that is no ELF file.
func (c *checker) script(name string, n *tree.Node, scripts int) ([]problem, error) {
	line, whole, err := firstLine(n)
	if err != nil {
		return nil, fmt.Errorf("reading %q in the artifact: %w", name, err)
	}
	if wrong := noScript(name, n, line); wrong != nil {
		return wrong, nil
	}
	if scripts >= maxScripts {
		return problemf("name a real program in the first line", "%q is a script that is run by a script, more than %d times over", name, maxScripts), nil
	}
	program, arg, wrong := parseLine(name, line, whole)
	if wrong != nil {
		return wrong, nil
	}
	if strings.HasSuffix(program, "\r") {
		if _, missing := c.find(program); missing != nil {
			return problemf("save it with LF line ends", "%q ends its first line with CR LF, so its interpreter is %q, which is not in the artifact", name, program), nil
		}
	}
	problems, err := c.exec(program, scripts+1)
	for i := range problems {
		problems[i].message += fmt.Sprintf(" (the interpreter of %q)", name)
		problems[i].fix = strings.Replace(problems[i].fix, "name a program of the artifact", "install it in the image, or name another one in the script's first line", 1)
	}
	if err != nil || len(problems) > 0 {
		return problems, err
	}
	if path.Base(program) == "env" {
		return c.env(name, program, arg, scripts)
	}
	if strings.HasSuffix(arg, "\r") {
		p := problemf("save it with LF line ends", "%q ends its first line with CR LF, so %s gets the argument %q", name, program, arg)
		p[0].doubtful = true
		return p, nil
	}
	return nil, nil
}

// firstLine reads as much of a file as the kernel looks at; whole says that the file
// ends before that.
func firstLine(n *tree.Node) (line []byte, whole bool, err error) {
	if n.Content == nil {
		return nil, true, nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	line = make([]byte, lineSize)
	got, err := io.ReadFull(r, line)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, false, err
	}
	return line[:got], n.Content.Size() < lineSize, nil
}

// noScript says why a file cannot be executed at all.
func noScript(name string, n *tree.Node, line []byte) []problem {
	const fix = `begin a script with a line like "#!/bin/sh"`
	switch {
	case bytes.HasPrefix(line, []byte("#!")):
		return nil
	case n.Size() == 0:
		return problemf("fill it, or name another program", "%q is an empty file", name)
	case bytes.HasPrefix(line, []byte("\xef\xbb\xbf#!")):
		return problemf("save it as UTF-8 without a byte order mark", `%q begins with a byte order mark, so the kernel does not see its "#!"`, name)
	}
	shown, _, _ := bytes.Cut(line[:min(len(line), 40)], []byte("\n"))
	return problemf(fix, `%q is neither an ELF program nor a script with a "#!" line; it begins with %q`, name, shown)
}

// parseLine splits a "#!" line as the kernel does: the interpreter, and all the rest
// as one argument.
func parseLine(name string, line []byte, whole bool) (program, arg string, wrong []problem) {
	text := string(line[2:])
	first, _, ended := strings.Cut(text, "\n")
	first = strings.TrimLeft(first, " \t")
	first, _, _ = strings.Cut(first, "\x00")
	end := strings.IndexAny(first, " \t")
	if first == "" {
		return "", "", problemf(`write one, as in "#!/bin/sh"`, `%q names no interpreter after its "#!"`, name)
	}
	if end < 0 {
		if !ended && !whole {
			return "", "", problemf("shorten the first line", `%q has a "#!" line whose interpreter does not end within the %d bytes that the kernel reads`, name, lineSize)
		}
		return first, "", nil
	}
	return first[:end], strings.Trim(first[end:], " \t"), nil
}

// defaultPath is where programs are found without PATH, by env(1) of one C library or
// another.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// env checks the program of "#!/usr/bin/env program".
func (c *checker) env(name, by, arg string, scripts int) ([]problem, error) {
	split := false
	if rest, ok := strings.CutPrefix(arg, "-S"); ok {
		split, arg = true, strings.TrimLeft(rest, " \t")
	}
	program := arg
	if split {
		words := strings.Fields(arg)
		for len(words) > 0 && strings.Contains(words[0], "=") { // NAME=VALUE
			words = words[1:]
		}
		program = strings.Join(words[:min(len(words), 1)], "")
		if strings.ContainsAny(program, `$"'\`) || strings.HasPrefix(program, "-") {
			return nil, nil // env would expand or act on it
		}
	}
	switch {
	case program == "" || strings.HasPrefix(program, "-") || strings.Contains(program, "="):
		return nil, nil
	case strings.HasSuffix(program, "\r"):
		return problemf("save it with LF line ends", "%q ends its first line with CR LF, so %s looks for the program %q", name, by, program), nil
	case strings.Contains(program, "/"):
		return c.exec(program, scripts+1)
	}
	search, given := c.Env["PATH"]
	if !given {
		search = defaultPath
	}
	for dir := range strings.SplitSeq(search, ":") {
		if dir == "" {
			dir = "."
		}
		if err := c.spend(1); err != nil {
			return nil, err
		}
		candidate := dir + "/" + program
		if _, wrong := c.executable(candidate); wrong != nil {
			continue
		}
		problems, err := c.exec(candidate, scripts+1)
		for i := range problems {
			problems[i].message += fmt.Sprintf(" (%s of %q runs it)", by, name)
		}
		return problems, err
	}
	p := problemf("install it in the image, or set PATH in [workload] env", "%q is run by %q, which PATH (%s) of the workload does not have", name, program, search)
	if strings.ContainsAny(program, " \t") {
		p[0].fix = fmt.Sprintf("write #!%s -S %s: all that follows env is one word otherwise", by, program)
	}
	p[0].doubtful = !given
	return p, nil
}
