package preflight

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
)

// An object is a file that the loader has mapped.
type object struct {
	path   string // by which it was opened; for the program itself where links lead to
	needed string // the name in DT_NEEDED that led to it
	by     *object
	place
	file *elfread.File
}

// origin is what $ORIGIN stands for.
func (o *object) origin() string { return path.Dir(o.path) }

// loaderKind is whose rules hold.
type loaderKind int

const (
	unknown loaderKind = iota
	glibc
	musl
)

// kindOf tells loaders apart by the file that a link leads to: on systems with musl there
// is often a link with glibc's name.
func kindOf(l *object) loaderKind {
	base, soname := path.Base(l.at), l.file.Soname
	switch {
	case strings.HasPrefix(base, "ld-musl-"), strings.HasPrefix(base, "libc.musl-"), strings.HasPrefix(soname, "libc.musl-"),
		base == "libc.so": // glibc's file of that name is a text
		return musl
	case len(l.file.Needed) > 0:
		return unknown
	case strings.HasPrefix(soname, "ld-linux"), strings.HasPrefix(soname, "ld64.so."), strings.HasPrefix(soname, "ld.so."):
		return glibc
	}
	return unknown
}

// A resolver loads one program's libraries, breadth first as the loaders do.
type resolver struct {
	*checker
	kind    loaderKind
	main    *object
	env     []string        // of LD_LIBRARY_PATH
	loaded  map[string]bool // names that are found
	told    map[string]bool // names that are complained of: another library may find them
	objects []*object
	nodes   map[*tree.Node]bool
}

// libraries says which libraries of a program the loader does not find.
func (c *checker) libraries(name string, at place, f *elfread.File, loader *object) ([]problem, error) {
	_, problems, err := c.resolve(name, at, f, loader)
	return problems, err
}

// resolve loads what a program needs.
func (c *checker) resolve(name string, at place, f *elfread.File, loader *object) (*resolver, []problem, error) {
	r := &resolver{
		checker: c, kind: kindOf(loader), loaded: map[string]bool{}, told: map[string]bool{}, nodes: map[*tree.Node]bool{},
		main: &object{path: "/" + at.at, place: at, file: f},
	}
	if !secure(at.node) {
		r.env = c.dirs(split(c.Env["LD_LIBRARY_PATH"], ":;\n"))
	}
	r.adopt(r.main)
	if r.kind != musl {
		r.adopt(loader)
		r.loaded[path.Base(loader.path)] = true
	}
	var problems []problem
	for i := 0; i < len(r.objects); i++ {
		o := r.objects[i]
		for _, needed := range o.file.Needed {
			if r.loaded[needed] || r.kind == musl && muslBuiltIn(needed) {
				continue
			}
			if len(r.objects) > MaxLibraries {
				p := problemf("nothing, if the artifact is meant to be like this", "%q needs more than %d libraries; the others were not looked at", name, MaxLibraries)
				p[0].doubtful = true
				return r, append(problems, p...), nil
			}
			p, err := r.load(name, o, needed)
			if err != nil {
				return nil, nil, err
			}
			if problems = append(problems, p...); len(problems) == maxProblems {
				return r, problems, nil
			}
		}
	}
	return r, problems, nil
}

// maxProblems is how many libraries of one program are complained of.
const maxProblems = 20

// secure tells whether the kernel makes the loader ignore the environment: root runs
// the program, so only another owner counts.
func secure(n *tree.Node) bool {
	return n.Mode&fs.ModeSetuid != 0 && n.UID != 0 || n.Mode&fs.ModeSetgid != 0 && n.GID != 0
}

func (r *resolver) adopt(o *object) {
	r.objects = append(r.objects, o)
	r.nodes[o.node] = true
	if r.kind != musl && o.file.Soname != "" {
		r.loaded[o.file.Soname] = true
	}
}

// found is a library, or why there is none.
type found struct {
	path   string
	place  place
	file   *elfread.File
	fault  *fault // that ends the search
	other  string // a library of that name for another machine
	noted  *fault // it is there, but
	exists bool
}

// load finds one library of o and adds it to the objects.
func (r *resolver) load(name string, o *object, needed string) ([]problem, error) {
	f, err := r.search(o, needed)
	if err != nil {
		return nil, err
	}
	r.loaded[needed] = f.exists
	if !f.exists && r.told[needed] {
		return nil, nil
	}
	r.told[needed] = true
	chain := fmt.Sprintf("%q needs", name)
	for _, step := range o.chain() {
		chain += fmt.Sprintf(" %q, which needs", step)
	}
	switch {
	case f.fault != nil:
		return r.doubt(problemf(f.fault.fix, "%s %q, but %s", chain, needed, f.fault.is)), nil
	case !f.exists && f.other != "":
		return r.doubt(problemf("install it for "+archName(r.main.file.Header), "%s %q, which the artifact has only for %s", chain, needed, f.other)), nil
	case !f.exists:
		return r.doubt(problemf("install the package that has it in the image, or map it to /usr/lib", "%s %q, which is not in the artifact", chain, needed)), nil
	}
	if !r.nodes[f.place.node] {
		r.adopt(&object{path: f.path, needed: needed, by: o, place: f.place, file: f.file})
	}
	if f.noted != nil {
		p := problemf(f.noted.fix, "%s %q, which %s", chain, needed, f.noted.is)
		p[0].doubtful = true
		return p, nil
	}
	return nil, nil
}

// doubt marks what an unknown loader may find all the same.
func (r *resolver) doubt(p []problem) []problem {
	for i := range p {
		p[i].doubtful = r.kind == unknown
	}
	return p
}

// chain are the libraries from the program to o.
func (o *object) chain() []string {
	var names []string
	for ; o.by != nil; o = o.by {
		names = append(names, o.needed)
	}
	slices.Reverse(names)
	return names
}

func (r *resolver) search(o *object, needed string) (found, error) {
	if strings.Contains(needed, "/") {
		names := []string{needed}
		if r.kind != musl {
			names = r.expand(needed, o)
		}
		var last found
		for _, n := range names {
			var err error
			if last, err = r.try(r.absolute(n)); err != nil || last.exists || last.fault != nil {
				return last, err
			}
		}
		return last, nil
	}
	other := ""
	for _, dir := range r.own(o) {
		f, err := r.try(dir + "/" + needed)
		if err != nil || f.exists || f.fault != nil {
			return f, err
		}
		other = cmp.Or(other, f.other)
	}
	f, err := r.fromSystem(o, needed)
	if err != nil || f.exists || f.fault != nil {
		return f, err
	}
	// Folders for certain processors lie below the others.
	dirs := r.own(o)
	if !o.file.NoDefaultLib {
		dirs = append(dirs, r.defaults()...)
	}
	for _, dir := range dirs {
		if special, err := r.hwcaps(dir, needed); err != nil || special.exists {
			return special, err
		}
	}
	return found{other: cmp.Or(other, f.other)}, nil
}

// own are the folders that the program, its libraries and the environment name.
func (r *resolver) own(o *object) []string {
	if r.kind == musl {
		dirs := slices.Clone(r.env)
		for l := o; l != nil; l = l.by {
			dirs = append(dirs, r.muslPath(l)...)
		}
		return dirs
	}
	var dirs []string
	if !o.file.HasRunpath {
		for l := o; l != nil; l = l.by { // the program comes last
			dirs = append(dirs, r.paths(l.file.Rpath, l)...)
		}
	}
	dirs = append(dirs, r.env...)
	return append(dirs, r.paths(o.file.Runpath, o)...)
}

// maxDirs is how many folders of one search path are searched.
const maxDirs = 256

// paths splits and expands DT_RPATH or DT_RUNPATH of o.
func (r *resolver) paths(text string, o *object) []string {
	var dirs []string
	for _, dir := range split(text, ":") {
		for _, e := range r.expand(dir, o) {
			if len(dirs) < maxDirs {
				dirs = append(dirs, r.absolute(e))
			}
		}
	}
	return dirs
}

// split is strings.Split, but of nothing makes nothing.
func split(text, separators string) []string {
	if text == "" {
		return nil
	}
	var all []string
	for {
		i := strings.IndexAny(text, separators)
		if i < 0 {
			return append(all, text)
		}
		all, text = append(all, text[:i]), text[i+1:]
	}
}

// expand replaces $ORIGIN, $LIB and $PLATFORM. What the last two are is built into a
// loader, so every answer counts.
func (r *resolver) expand(text string, o *object) []string {
	if !strings.Contains(text, "$") {
		return []string{text}
	}
	a := machineOf(o.file.Header)
	all := []string{text}
	for _, v := range []struct {
		name   string
		values []string
	}{
		{"ORIGIN", []string{o.origin()}},
		{"LIB", append(prefixed("lib/", a.multi), "lib64", "lib", "lib32")},
		{"PLATFORM", []string{a.platform, "haswell", "xeon_phi"}},
	} {
		var next []string
		for _, text := range all {
			if !strings.Contains(text, "$"+v.name) && !strings.Contains(text, "${"+v.name+"}") {
				next = append(next, text)
				continue
			}
			for _, value := range v.values {
				next = append(next, strings.NewReplacer("${"+v.name+"}", value, "$"+v.name, value).Replace(text))
			}
		}
		all = next
	}
	return all
}

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = prefix + n
	}
	return all
}

// machineOf finds the architecture of a file; nothing is known of those that OCI has no
// name for.
func machineOf(h elfread.Header) architecture {
	return architectures[archName(h)]
}

// fromSystem searches where the loader looks without being told.
func (r *resolver) fromSystem(o *object, needed string) (found, error) {
	if r.kind != musl && o.file.NoDefaultLib {
		return found{}, nil
	}
	h := r.main.file.Header
	key := fmt.Sprintf("%d %d %d %d %s", r.kind, h.Machine, h.Class, h.Data, needed)
	if f, ok := r.system[key]; ok {
		return f, nil
	}
	f, err := r.searchSystem(needed)
	if err == nil {
		r.system[key] = f
		r.kept += len(key)
	}
	return f, err
}

func (r *resolver) searchSystem(needed string) (found, error) {
	conf, err := r.readConf(r.muslArch())
	if err != nil {
		return found{}, err
	}
	other := ""
	for _, name := range r.candidates(conf, needed) {
		f, err := r.try(name)
		if err != nil || f.exists || f.fault != nil {
			return f, err
		}
		other = cmp.Or(other, f.other)
	}
	if r.kind != musl {
		for _, dir := range conf.dirs {
			f, err := r.try(dir + "/" + needed)
			if err != nil {
				return f, err
			}
			if f.exists {
				f.noted = faultf("run ldconfig in the image, map it to /usr/lib, or set LD_LIBRARY_PATH in [workload] env",
					"is in %q, but the loader finds that folder by /etc/ld.so.cache alone, which does not list it", dir)
				return f, nil
			}
			other = cmp.Or(other, f.other)
		}
	}
	return found{other: other}, nil
}

// candidates are the files that the loader tries by itself, in its order.
func (r *resolver) candidates(conf *loaderConf, needed string) []string {
	var names []string
	if r.kind != musl {
		r.work += len(conf.cache) / 4096
		names = conf.cached(needed)
	}
	for _, dir := range r.defaults() {
		names = append(names, dir+"/"+needed)
	}
	return names
}

// defaults are the folders that are built into the loader.
func (r *resolver) defaults() []string {
	if r.kind == musl {
		if r.conf != nil && r.conf.musl != nil {
			return r.conf.musl
		}
		return []string{"/lib", "/usr/local/lib", "/usr/lib"}
	}
	h := r.main.file.Header
	var dirs []string
	for _, m := range machineOf(h).multi {
		dirs = append(dirs, "/lib/"+m, "/usr/lib/"+m)
	}
	if h.Class == elf.ELFCLASS64 {
		dirs = append(dirs, "/lib64", "/usr/lib64")
	} else {
		dirs = append(dirs, "/lib32", "/usr/lib32")
	}
	return append(dirs, "/lib", "/usr/lib")
}

// hwcaps looks for a library for certain processors.
func (r *resolver) hwcaps(dir, needed string) (found, error) {
	p, wrong := r.find(dir + "/glibc-hwcaps")
	if wrong != nil || r.kind == musl {
		return found{}, r.spend(1)
	}
	for base := range p.node.Children() {
		f, err := r.try(dir + "/glibc-hwcaps/" + base + "/" + needed)
		if err != nil || f.exists {
			return f, err
		}
	}
	return found{}, nil
}

// try opens a library by an absolute name, as the loader of the main program does.
func (r *resolver) try(name string) (found, error) {
	if err := r.spend(1); err != nil {
		return found{}, err
	}
	p, wrong := r.find(name)
	if wrong != nil || p.node.Mode.IsDir() {
		return found{}, nil
	}
	f, err := r.elf(p.node)
	h := r.main.file.Header
	switch {
	case isFinding(err):
		return found{fault: faultf("install it again", "%q is no library: %v", name, err)}, nil
	case err != nil:
		return found{}, err
	case f.Machine == h.Machine && f.Class == h.Class && f.Data == h.Data:
		return found{path: name, place: p, file: f, exists: true}, nil
	case r.kind == musl: // which takes the first file of that name
		return found{fault: faultf("install it for "+archName(h), "%q is for %s", name, archName(f.Header))}, nil
	}
	return found{other: fmt.Sprintf("%s (%q)", archName(f.Header), name)}, nil
}

// muslBuiltIn tells whether musl's libc, which is its loader, stands in for a library.
func muslBuiltIn(needed string) bool {
	rest, ok := strings.CutPrefix(needed, "lib")
	return ok && slices.ContainsFunc([]string{"c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."}, func(p string) bool { return strings.HasPrefix(rest, p) })
}

// muslPath is the search path of one object, of which musl ignores all if it holds a
// variable other than $ORIGIN.
func (r *resolver) muslPath(o *object) []string {
	text := o.file.Rpath
	if o.file.HasRunpath {
		text = o.file.Runpath
	}
	text = strings.NewReplacer("${ORIGIN}", o.origin(), "$ORIGIN", o.origin()).Replace(text)
	if strings.Contains(text, "$") {
		return nil
	}
	return r.dirs(split(text, ":\n"))
}

func (r *resolver) muslArch() string { return machineOf(r.main.file.Header).musl }

// dirs makes folders absolute; an empty one is the working directory.
func (c *checker) dirs(names []string) []string {
	all := make([]string, 0, min(len(names), maxDirs))
	for _, dir := range names[:min(len(names), maxDirs)] {
		all = append(all, c.absolute(dir))
	}
	return all
}

// cached are the files of that name which the cache lists. The cache's strings end
// with NUL bytes in each of its formats, and nothing more of them is needed.
func (l *loaderConf) cached(name string) []string {
	var all []string
	rest, key := l.cache, []byte("/"+name+"\x00")
	for len(all) < maxDirs {
		i := bytes.Index(rest, key)
		if i < 0 {
			break
		}
		full := rest[bytes.LastIndexByte(rest[:i], 0)+1 : i+len(key)-1]
		full = full[bytes.IndexByte(full, '/'):] // a number stands before the first string
		if len(full) <= tree.MaxName {
			all = append(all, string(full))
		}
		rest = rest[i+len(key):]
	}
	return all
}
