package preflight

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/testneed"
)

// hostFile is a file of this machine.
type hostFile struct {
	name string
	size int64
}

func (f hostFile) Size() int64                  { return f.size }
func (f hostFile) Open() (io.ReadCloser, error) { return os.Open(f.name) }

// hostTree is this machine's root filesystem as far as programs and libraries go, with
// the given folders.
func hostTree(t testing.TB, dirs ...string) *tree.Tree {
	t.Helper()
	tr := tree.New()
	dir := tree.Node{Mode: fs.ModeDir | 0o755}
	put := func(name string, info fs.FileInfo) {
		n := &tree.Node{Mode: info.Mode()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n.UID, n.GID = st.Uid, st.Gid
		}
		switch {
		case info.IsDir():
			if err := tr.MkdirAll(name[1:], dir); err != nil {
				t.Fatal(err)
			}
			return
		case info.Mode()&fs.ModeSymlink != 0:
			n.Target, _ = os.Readlink(name)
		case info.Mode().IsRegular():
			n.Content = hostFile{name, info.Size()}
		}
		if err := tr.MkdirAll(filepath.Dir(name[1:]), dir); err != nil {
			t.Fatal(err)
		}
		if err := tr.Put(name[1:], n); err != nil {
			t.Fatal(err)
		}
	}
	for _, top := range dirs {
		if parent, err := filepath.EvalSymlinks(filepath.Dir(top)); err != nil || parent != filepath.Dir(top) && parent != "/usr"+filepath.Dir(top) {
			continue
		} else if parent != filepath.Dir(top) {
			top = filepath.Join(parent, filepath.Base(top)) // /lib is a link to /usr/lib
		}
		_ = filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil
			}
			if info, err := d.Info(); err == nil {
				put(name, info)
			}
			return nil
		})
	}
	return tr
}

// resolve is what Check does about libraries, with the files that are found.
func resolve(t testing.TB, g Guest, program string) (paths map[string]bool, problems []problem) {
	t.Helper()
	c := &checker{Guest: g, ctx: t.Context(), files: map[*tree.Node]parsed{}, system: map[string]found{}}
	at, wrong := c.executable(program)
	if wrong != nil {
		t.Fatal(wrong)
	}
	f, err := elfread.Read(at.node.Content)
	if err != nil {
		t.Fatal(err)
	}
	loader, wrong, err := c.loader(f)
	if err != nil || wrong != nil {
		t.Fatal(wrong, err)
	}
	r, problems, err := c.resolve(program, at, f, loader)
	if err != nil {
		t.Fatal(err)
	}
	paths = map[string]bool{}
	for _, o := range r.objects[1:] {
		if o.by != nil {
			paths[o.at] = true
		}
	}
	return paths, problems
}

// A listing is what a loader says it would load.
type listing struct {
	paths   map[string]bool // resolved, without a leading slash
	missing map[string]bool
}

// list asks the loader of a program. glibc's tells everything when it is started for the
// program with that variable, as ldd(1) does, musl's by an option.
func list(t testing.TB, loader, program, dir string, env ...string) listing {
	t.Helper()
	cmd := exec.Command(program)
	if strings.Contains(loader, "musl") {
		cmd = exec.Command(loader, "--list", program)
	}
	cmd.Dir, cmd.Env = dir, append(env, "LD_TRACE_LOADED_OBJECTS=1")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	l := listing{map[string]bool{}, map[string]bool{}}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		name, rest, arrow := strings.Cut(line, " => ")
		file, _, _ := strings.Cut(rest, " (0x")
		switch {
		case strings.HasPrefix(line, "Error loading shared library "): // musl
			name, _, _ := strings.Cut(strings.TrimPrefix(line, "Error loading shared library "), ":")
			l.missing[name] = true
		case arrow && rest == "not found":
			l.missing[name] = true
		case arrow:
			l.add(t, dir, file)
		case strings.HasPrefix(line, "/"):
			file, _, _ := strings.Cut(line, " (0x")
			l.add(t, dir, file)
		}
	}
	return l
}

func (l *listing) add(t testing.TB, dir, file string) {
	if !filepath.IsAbs(file) {
		file = dir + "/" + file
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	l.paths[strings.TrimPrefix(real, "/")] = true
}

// missing are the names in problems like `"/p" needs "a", which needs "b", which is not`.
func missing(problems []problem) map[string]bool {
	all := map[string]bool{}
	for _, p := range problems {
		parts := strings.Split(p.message, `needs "`)
		name, _, _ := strings.Cut(parts[len(parts)-1], `"`)
		all[name] = true
	}
	return all
}

func hostGuest(t testing.TB, env map[string]string, dirs ...string) Guest {
	t.Helper()
	if runtime.GOOS != "linux" || architectures[runtime.GOARCH].machine == 0 {
		t.Skipf("SKIP: no loader for %s/%s is known", runtime.GOOS, runtime.GOARCH)
	}
	return Guest{Tree: hostTree(t, dirs...), Arch: runtime.GOARCH, Workdir: "/", Env: env}
}

var system = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/local/bin", "/usr/local/lib", "/opt", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.cache", "/etc/alternatives", "/etc/ld-musl-x86_64.path"}

// For every program of this machine the libraries found are exactly those that its
// loader finds.
func TestLibrariesAreThoseTheLoaderFinds(t *testing.T) {
	g := hostGuest(t, nil, system...)
	programs, libraries := 0, 0
	for _, pattern := range []string{"/usr/bin/*", "/usr/sbin/*", "/usr/lib/*/*", "/usr/libexec/*", "/usr/libexec/*/*"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				continue
			}
			f, err := elfread.Read(hostFile{name, info.Size()})
			if err != nil || f.Interp == "" || len(f.Needed) == 0 || realPath(f.Interp) == "" {
				continue // it would not start at all
			}
			got, problems := resolve(t, g, name)
			want := list(t, f.Interp, name, "/")
			programs, libraries = programs+1, libraries+len(want.paths)
			delete(want.paths, realPath(f.Interp))
			delete(got, realPath(f.Interp))
			if !maps.Equal(got, want.paths) || !maps.Equal(missing(problems), want.missing) {
				t.Errorf("%s: %q, missing %q; the loader finds %q, misses %q", name, sorted(got), sorted(missing(problems)), sorted(want.paths), sorted(want.missing))
			}
		}
	}
	t.Logf("%d programs with %d libraries", programs, libraries)
	if programs == 0 {
		testneed.Missing(t, "programs", "no dynamic programs on this machine")
	}
}

func realPath(name string) string {
	real, _ := filepath.EvalSymlinks(name)
	return strings.TrimPrefix(real, "/")
}

func sorted(m map[string]bool) []string { return slices.Sorted(maps.Keys(m)) }

// Programs linked at random, with libraries that are missing, are judged as the
// loaders of glibc and musl judge them.
func TestRandomProgramsAreJudgedAsTheLoadersDo(t *testing.T) {
	testneed.Tool(t, "ld", "as")
	loaders := map[string]string{"glibc": "", "musl": ""}
	for kind, pattern := range map[string]string{"glibc": "/lib*/ld-linux*.so.*", "musl": "/lib/ld-musl-*.so.1"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			loaders[kind] = found[0]
		}
	}
	for kind, loader := range loaders {
		t.Run(kind, func(t *testing.T) {
			if loader == "" {
				testneed.Missing(t, kind, "no loader of "+kind+" is installed")
			}
			rnd := rand.New(rand.NewPCG(8, 9))
			absent := 0
			for range 30 {
				absent += randomProgram(t, rnd, loader)
			}
			t.Logf("%d libraries were missing", absent)
			if absent < 30 {
				t.Errorf("only %d libraries were missing: the test says little", absent)
			}
		})
	}
}

// randomProgram links a program and libraries that need each other, takes some of them
// away, and compares. It returns how many the loader misses.
func randomProgram(t *testing.T, rnd *rand.Rand, loader string) int {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run := func(argv ...string) {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	run("sh", "-c", "echo '.globl _start; _start: nop' | as -o start.o; echo | as -o empty.o; mkdir stub d0 d1 d2 d2/d3; ln -s d1 link")
	var names []string
	for i := range 7 {
		names = append(names, fmt.Sprintf("lib%c%d.so", 'a'+i, i))
		run("ld", "-shared", "-soname", names[i], "-o", "stub/"+names[i], "empty.o")
	}
	places := []string{"d0", "d1", "d2", "d2/d3"}
	paths := []string{dir + "/d0", dir + "/d1", "$ORIGIN/../d2", "${ORIGIN}", "$ORIGIN/d3", dir + "/link/../d2", dir + "/none", "d0", "$ORIGIN/../link"}
	link := func(out string, first int, more ...string) {
		argv := append([]string{"ld", "-o", out, "--allow-shlib-undefined", "--no-as-needed"}, more...)
		if rnd.IntN(3) > 0 {
			tags := []string{"--enable-new-dtags", "--disable-new-dtags"}[rnd.IntN(2)]
			argv = append(argv, tags, "-rpath", paths[rnd.IntN(len(paths))]+":"+paths[rnd.IntN(len(paths))])
		}
		for range 1 + rnd.IntN(3) {
			if n := first + rnd.IntN(len(names)); n < len(names) {
				argv = append(argv, "stub/"+names[n])
			}
		}
		run(argv...)
	}
	for i, name := range names {
		for range 1 + rnd.IntN(2) {
			if rnd.IntN(6) == 0 {
				continue // this one is missing
			}
			place := places[rnd.IntN(len(places))]
			soname := name
			if rnd.IntN(4) == 0 {
				soname = names[rnd.IntN(len(names))]
			}
			link(place+"/"+name, i+1, "-shared", "-soname", soname, "empty.o")
		}
	}
	place := places[rnd.IntN(len(places))]
	link(place+"/prog", 0, "-pie", "--dynamic-linker", loader, "start.o")
	env := map[string]string{}
	var environ []string
	if rnd.IntN(2) == 0 {
		env["LD_LIBRARY_PATH"] = dir + "/" + places[rnd.IntN(4)] + ":" + places[rnd.IntN(4)]
		environ = append(environ, "LD_LIBRARY_PATH="+env["LD_LIBRARY_PATH"])
	}
	g := hostGuest(t, env, dir, "/lib", "/lib64", loader, "/usr"+loader, "/"+realPath(loader), "/etc/ld-musl-x86_64.path")
	g.Workdir = dir
	program := dir + "/" + place + "/prog"
	got, problems := resolve(t, g, program)
	want := list(t, loader, program, dir, environ...)
	for _, paths := range []map[string]bool{got, want.paths} {
		delete(paths, realPath(loader))
	}
	if !maps.Equal(got, want.paths) || !maps.Equal(missing(problems), want.missing) {
		out, _ := exec.Command("sh", "-c", "cd "+dir+"; readelf -d $(find . -type f -path './d*') | grep -E 'File|NEEDED|SONAME|RPATH|RUNPATH'").CombinedOutput()
		t.Errorf("%s with %q: %q, missing %q; the loader finds %q, misses %q\n%s", program, environ, sorted(got), sorted(missing(problems)), sorted(want.paths), sorted(want.missing), out)
	}
	return len(want.missing)
}

// Linux itself executes files with arbitrary first lines. What it takes is taken, and
// nothing else.
func TestFirstLinesAreReadAsTheKernelReadsThem(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("SKIP: a program for linux/amd64")
	}
	dir, err := os.MkdirTemp("/tmp", "p")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string, mode fs.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("ok", string(elftest.Program()), 0o755)
	write("ok\r", string(elftest.Program()), 0o755)
	write("data", "x", 0o644)
	interpreter := dir + "/ok"
	pieces := []string{"#!", "#!", "#!", " ", "\t", "\n", "\r", "\x00", interpreter, interpreter, interpreter, dir + "/none", dir + "/data", dir, "x", "", strings.Repeat(" ", 200), strings.Repeat("y", 200)}
	rnd := rand.New(rand.NewPCG(5, 6))
	texts := []string{"", "#!", "#!\n", "\n#!" + interpreter, "#!" + interpreter, "\xef\xbb\xbf#!" + interpreter}
	for n := range 40 { // around the end of what the kernel reads
		pad := lineSize - 20 + n - 2 - len(interpreter)
		texts = append(texts, "#!"+strings.Repeat(" ", pad)+interpreter, "#!"+strings.Repeat(" ", pad)+interpreter+"\n", "#!"+strings.Repeat(" ", pad)+interpreter+" arg")
	}
	for range 1500 {
		text := "#!"
		for range 1 + rnd.IntN(5) {
			text += pieces[rnd.IntN(len(pieces))]
		}
		texts = append(texts, text)
	}
	for i := range maxScripts + 2 { // scripts of scripts
		next := interpreter
		if i > 0 {
			next = fmt.Sprintf("%s/chain%d", dir, i-1)
		}
		write(fmt.Sprintf("chain%d", i), "#!"+next+"\n", 0o755)
		texts = append(texts, "#!"+next+"\n")
	}
	ran := 0
	for i, text := range texts {
		name := fmt.Sprintf("%s/s%d", dir, i)
		write(filepath.Base(name), text, 0o755)
		err := exec.Command(name).Run()
		g := hostGuest(t, nil, dir)
		c := &checker{Guest: g, ctx: t.Context(), files: map[*tree.Node]parsed{}, system: map[string]found{}}
		problems, wrong := c.start(name)
		if wrong != nil {
			t.Fatal(wrong)
		}
		problems = slices.DeleteFunc(problems, func(p problem) bool { return p.doubtful })
		if (err == nil) != (len(problems) == 0) {
			t.Errorf("%q: %v; the kernel says %v", text, problems, err)
		}
		if err == nil {
			ran++
		}
		os.Remove(name)
	}
	t.Logf("%d of %d files ran", ran, len(texts))
	if ran < 100 || ran > len(texts)-100 {
		t.Error("the test says little")
	}
}
