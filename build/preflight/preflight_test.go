package preflight

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/elftest"
)

type blob []byte

func (b blob) Size() int64                  { return int64(len(b)) }
func (b blob) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

// A root is a tree as a table: []byte and string are programs (mode 0755), data is a
// file of mode 0644, link a symbolic link, nil a folder.
type (
	root map[string]any
	data string
	link string
)

func (r root) tree(t testing.TB) *tree.Tree {
	t.Helper()
	tr := tree.New()
	dir := tree.Node{Mode: fs.ModeDir | 0o755}
	put := func(name string, n *tree.Node) {
		if err := tr.MkdirAll(path.Dir(name), dir); err != nil {
			t.Fatal(err)
		}
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	for name, v := range r {
		switch v := v.(type) {
		case nil:
			if err := tr.MkdirAll(name, dir); err != nil {
				t.Fatal(err)
			}
		case blob:
			put(name, &tree.Node{Mode: 0o755, Content: v})
		case []byte:
			put(name, &tree.Node{Mode: 0o755, Content: blob(v)})
		case string:
			put(name, &tree.Node{Mode: 0o755, Content: blob(v)})
		case data:
			put(name, &tree.Node{Mode: 0o644, Content: blob(v)})
		case link:
			put(name, &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: string(v)})
		case *tree.Node:
			put(name, v)
		default:
			t.Fatalf("%s: %T", name, v)
		}
	}
	return tr
}

const (
	glibcLoader = "/lib64/ld-linux-x86-64.so.2"
	muslLoader  = "/lib/ld-musl-x86_64.so.1"
)

// loaderFile stands for glibc's loader.
func loaderFile() []byte {
	return elftest.Make(elftest.Spec{Type: elf.ET_DYN, Soname: "ld-linux-x86-64.so.2"})
}

// debian has glibc where Debian has it, and what a good guest has.
func debian(more root) root {
	r := root{
		"lib": link("usr/lib"), "lib64": link("usr/lib64"), "bin": link("usr/bin"),
		"usr/lib64/ld-linux-x86-64.so.2":                link("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
		"usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": loaderFile(),
		"usr/lib/x86_64-linux-gnu/libc.so.6":            elftest.Library("libc.so.6", "ld-linux-x86-64.so.2"),
		"usr/bin/sh":                                    elftest.Dynamic(glibcLoader, "libc.so.6"),
		"usr/bin/env":                                   elftest.Dynamic(glibcLoader, "libc.so.6"),
		"etc/resolv.conf":                               data("nameserver 192.0.2.1\n"),
		"etc/ld.so.conf":                                data("include /etc/ld.so.conf.d/*.conf\n"),
		"etc/ld.so.conf.d/a.conf":                       data("# comment\n/usr/local/lib\n"),
	}
	for name, v := range more {
		if v == (gone{}) {
			delete(r, name)
		} else {
			r[name] = v
		}
	}
	return r
}

// gone takes a name away from debian.
type gone struct{}

// alpine has musl where Alpine has it.
func alpine(more root) root {
	r := root{
		"lib/ld-musl-x86_64.so.1":   elftest.Make(elftest.Spec{Type: elf.ET_DYN, Soname: "libc.musl-x86_64.so.1"}),
		"lib/libc.musl-x86_64.so.1": link("ld-musl-x86_64.so.1"),
		"bin/busybox":               elftest.Dynamic(muslLoader, "libc.musl-x86_64.so.1"),
		"bin/sh":                    link("/bin/busybox"),
		"usr/bin/env":               link("/bin/busybox"),
		"usr/lib/libssl.so.3":       elftest.Library("libssl.so.3", "libcrypto.so.3", "libc.musl-x86_64.so.1"),
		"lib/libcrypto.so.3":        elftest.Library("libcrypto.so.3", "libc.musl-x86_64.so.1"),
		"etc/resolv.conf":           data("nameserver 192.0.2.1\n"),
	}
	for name, v := range more {
		r[name] = v
	}
	return r
}

func guestOf(t testing.TB, r root, entrypoint ...string) Guest {
	return Guest{Tree: r.tree(t), Arch: "amd64", Entrypoint: entrypoint, Workdir: "/", Env: map[string]string{"PATH": "/usr/bin:/bin"}, Free: minFree}
}

// check runs Check and shows what it finds, one line each.
func check(t testing.TB, g Guest) []string {
	t.Helper()
	found, err := Check(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range found {
		kind := "warning"
		switch {
		case f.Fatal:
			kind = "fatal"
		case f.Note:
			kind = "note"
		}
		if f.Fix == "" && !strings.HasPrefix(f.Message, "only the first") {
			t.Errorf("no fix for %q", f.Message)
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", kind, f.Key, f.Message))
	}
	return lines
}

// want compares findings.
func want(t testing.TB, got []string, wanted ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(wanted, "\n") {
		t.Errorf("found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(wanted, "\n\t"))
	}
}

func TestWorkloadsThatStart(t *testing.T) {
	dyn := func(needed ...string) []byte { return elftest.Dynamic(glibcLoader, append(needed, "libc.so.6")...) }
	spec := func(s elftest.Spec) []byte {
		s.Type, s.Interp = elf.ET_DYN, glibcLoader
		return elftest.Make(s)
	}
	lib := elftest.Library
	for name, tt := range map[string]struct {
		root  root
		entry string
		env   map[string]string
		arch  string
	}{
		"static":                        {root: debian(root{"app": elftest.Program()})},
		"static-pie":                    {root: debian(root{"app": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Flags1: elf.DF_1_PIE})})},
		"nothing but the program":       {root: root{"app": elftest.Program(), "etc/resolv.conf": data("nameserver ::1\n")}},
		"dynamic":                       {root: debian(root{"app": dyn()})},
		"through links":                 {root: debian(root{"app": link("opt/../opt/run"), "opt/run": link("/usr/bin/real"), "usr/bin/real": dyn()})},
		"setuid":                        {root: debian(root{"app": &tree.Node{Mode: 0o755 | fs.ModeSetuid, Content: blob(dyn())}})},
		"executable by others only":     {root: debian(root{"app": &tree.Node{Mode: 0o601, UID: 7, Content: blob(dyn())}})},
		"multiarch folder":              {root: debian(root{"app": dyn("liba.so.1"), "usr/lib/x86_64-linux-gnu/liba.so.1": lib("liba.so.1")})},
		"lib64":                         {root: debian(root{"app": dyn("liba.so.1"), "usr/lib64/liba.so.1": lib("liba.so.1")})},
		"library is a link":             {root: debian(root{"app": dyn("liba.so.1"), "usr/lib/liba.so.1": link("liba.so.1.2"), "usr/lib/liba.so.1.2": lib("liba.so.1")})},
		"library is not executable":     {root: debian(root{"app": dyn("liba.so.1"), "usr/lib/liba.so.1": data(lib("liba.so.1"))})},
		"RPATH":                         {root: debian(root{"app": spec(elftest.Spec{Needed: []string{"a"}, Rpath: "/none:/opt/l"}), "opt/l/a": lib("a")})},
		"RPATH of the one that needs":   {root: debian(root{"app": spec(elftest.Spec{Needed: []string{"a"}, Rpath: "/opt/l"}), "opt/l/a": lib("", "b"), "opt/l/b": lib("")})},
		"RUNPATH":                       {root: debian(root{"app": spec(elftest.Spec{Needed: []string{"a"}, Runpath: "/opt/l"}), "opt/l/a": lib("a")})},
		"$ORIGIN":                       {root: debian(root{"app": link("opt/bin/app"), "opt/bin/app": spec(elftest.Spec{Needed: []string{"a"}, Runpath: "$ORIGIN/../l"}), "opt/l/a": lib("a")})},
		"${ORIGIN} of a library":        {root: debian(root{"app": spec(elftest.Spec{Needed: []string{"a"}, Runpath: "/opt/l"}), "opt/l/a": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Needed: []string{"b"}, Runpath: "${ORIGIN}/deep"}), "opt/l/deep/b": lib("b")})},
		"$LIB and $PLATFORM":            {root: debian(root{"app": spec(elftest.Spec{Needed: []string{"a", "b"}, Runpath: "/opt/$LIB:/opt/$PLATFORM"}), "opt/lib64/a": lib("a"), "opt/x86_64/b": lib("b")})},
		"a needed path":                 {root: debian(root{"app": dyn("/opt/l/a"), "opt/l/a": lib("a")})},
		"a needed path from the origin": {root: debian(root{"app": dyn("$ORIGIN/opt/a"), "opt/a": lib("a")})},
		"LD_LIBRARY_PATH":               {root: debian(root{"app": dyn("a"), "opt/l/a": lib("a")}), env: map[string]string{"LD_LIBRARY_PATH": "/x;/opt/l"}},
		"same name by its SONAME":       {root: debian(root{"app": dyn("/opt/l/real.so", "a.so.1"), "opt/l/real.so": lib("a.so.1")})},
		"the loader by its SONAME":      {root: debian(root{"app": dyn("ld-linux-x86-64.so.2")})},
		"ld.so.cache":                   {root: debian(root{"app": dyn("liba.so.1"), "opt/odd/liba.so.1": lib(""), "etc/ld.so.cache": data("glibc-ld.so.cache1.1\x00\x01\x02junk/opt/odd/liba.so.1\x00/x/liba.so.2\x00")})},
		"for certain processors":        {root: debian(root{"app": dyn("a"), "usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/a": lib("a")})},
		"another machine's comes first": {root: debian(root{"app": dyn("a"), "usr/lib/x86_64-linux-gnu/a": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Machine: elf.EM_AARCH64}), "usr/lib/a": lib("a")})},
		"libraries need each other":     {root: debian(root{"app": dyn("a"), "usr/lib/a": lib("a", "b"), "usr/lib/b": lib("b", "a")})},
		"a store with paths":            {root: root{"app": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Interp: "/nix/store/1-glibc/lib/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"}, Runpath: "/nix/store/1-glibc/lib"}), "nix/store/1-glibc/lib/ld-linux-x86-64.so.2": loaderFile(), "nix/store/1-glibc/lib/libc.so.6": lib("libc.so.6"), "etc/resolv.conf": data("nameserver ::1")}},
		"script":                        {root: debian(root{"app": "#!/bin/sh\n"})},
		"script with blanks":            {root: debian(root{"app": "#! \t/bin/sh \t -e x  \necho"})},
		"script without a line end":     {root: debian(root{"app": "#!/bin/sh"})},
		"script with a long argument":   {root: debian(root{"app": "#!/bin/sh " + strings.Repeat("x", 1000)})},
		"script of a script":            {root: debian(root{"app": "#!/one\n", "one": "#!/two\n", "two": "#!/three\n", "three": "#!/four\n", "four": "#!/bin/sh\n"})},
		"relative interpreter":          {root: debian(root{"app": "#!usr/bin/sh\n"})},
		"env":                           {root: debian(root{"app": "#!/usr/bin/env python3\n", "usr/bin/python3": dyn()})},
		"env -S":                        {root: debian(root{"app": "#!/usr/bin/env -S A=b python3 -u\n", "usr/bin/python3": dyn()})},
		"env in the default PATH":       {root: debian(root{"app": "#!/usr/bin/env python3\n", "usr/local/bin/python3": dyn()}), env: map[string]string{}},
		"env skips what is no program":  {root: debian(root{"app": "#!/usr/bin/env x\n", "a/x": data(""), "b/x": nil, "c/x": dyn()}), env: map[string]string{"PATH": "/a:/b:/c"}},
		"env of a path":                 {root: debian(root{"app": "#!/usr/bin/env /bin/sh\n"})},
		"musl":                          {root: alpine(root{"app": elftest.Dynamic(muslLoader, "libssl.so.3", "libc.musl-x86_64.so.1")})},
		"musl with a script":            {root: alpine(root{"app": "#!/usr/bin/env sh\n"})},
		"musl's names for itself":       {root: alpine(root{"app": elftest.Dynamic(muslLoader, "libc.so", "libpthread.so.0", "libm.so.6", "libdl.so.2")})},
		"musl's /usr/local/lib":         {root: alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "usr/local/lib/a": lib("")})},
		"musl's path file":              {root: alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "etc/ld-musl-x86_64.path": data("/x:/opt/l\n/y\n"), "opt/l/a": lib("")})},
		"musl's LD_LIBRARY_PATH":        {root: alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "opt/l/a": lib("")}), env: map[string]string{"LD_LIBRARY_PATH": "/opt/l"}},
		"musl's inherited RUNPATH":      {root: alpine(root{"app": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Interp: muslLoader, Needed: []string{"a"}, Runpath: "$ORIGIN/l"}), "l/a": lib("", "b"), "l/b": lib("")})},
		"musl by glibc's name":          {root: alpine(root{"app": elftest.Dynamic(glibcLoader, "libc.so.6", "libpthread.so.0"), "lib64/ld-linux-x86-64.so.2": link("/lib/libc.musl-x86_64.so.1")})},
		"arm64":                         {root: root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_AARCH64}), "etc/resolv.conf": data("nameserver ::1")}, arch: "arm64"},
		"big-endian":                    {root: root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_S390, Data: elf.ELFDATA2MSB}), "etc/resolv.conf": data("nameserver ::1")}, arch: "s390x"},
		"an architecture without rules": {root: root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_SPARCV9}), "etc/resolv.conf": data("nameserver ::1")}, arch: "sparc64"},
	} {
		t.Run(name, func(t *testing.T) {
			g := guestOf(t, tt.root, "/app")
			if tt.env != nil {
				g.Env = tt.env
			}
			if tt.arch != "" {
				g.Arch = tt.arch
			}
			want(t, check(t, g))
		})
	}
}

func TestWorkloadsThatDoNotStart(t *testing.T) {
	dyn := func(needed ...string) []byte { return elftest.Dynamic(glibcLoader, needed...) }
	lib := elftest.Library
	fatal := func(s string) string { return "fatal workload.entrypoint[0]: " + s }
	warning := func(s string) string { return "warning workload.entrypoint[0]: " + s }
	long := "#!/" + strings.Repeat("x", 300)
	for name, tt := range map[string]struct {
		root root
		want string
		env  map[string]string
	}{
		"no entrypoint there":       {debian(nil), fatal(`"/app" is not in the artifact`), nil},
		"dangling link":             {debian(root{"app": link("opt/none")}), fatal(`"/app" leads to "/opt/none", which is not in the artifact`), nil},
		"link loop":                 {debian(root{"app": link("app2"), "app2": link("app")}), fatal(`"/app" cannot be reached: too many levels of symbolic links`), nil},
		"below a file":              {debian(root{"app": link("etc/resolv.conf/x")}), fatal(`"/app" cannot be reached: something on the way is not a folder`), nil},
		"an endless name":           {debian(root{"app": link(strings.Repeat("x", 300))}), fatal(`"/app" cannot be reached: the name is too long or holds a NUL byte`), nil},
		"folder":                    {debian(root{"app": nil}), fatal(`"/app" is a folder, not a program`), nil},
		"named pipe":                {debian(root{"app": &tree.Node{Mode: 0o755 | fs.ModeNamedPipe}}), fatal(`"/app" is a named pipe, not a program`), nil},
		"device":                    {debian(root{"app": &tree.Node{Mode: 0o755 | fs.ModeDevice | fs.ModeCharDevice}}), fatal(`"/app" is a character device, not a program`), nil},
		"0644":                      {debian(root{"app": data(elftest.Program())}), fatal(`"/app" is not executable (mode 0644)`), nil},
		"empty":                     {debian(root{"app": ""}), fatal(`"/app" is an empty file`), nil},
		"no content":                {debian(root{"app": &tree.Node{Mode: 0o755}}), fatal(`"/app" is an empty file`), nil},
		"text without a first line": {debian(root{"app": "echo hello\nexit\n"}), fatal(`"/app" is neither an ELF program nor a script with a "#!" line; it begins with "echo hello"`), nil},
		"byte order mark":           {debian(root{"app": "\xef\xbb\xbf#!/bin/sh\n"}), fatal(`"/app" begins with a byte order mark, so the kernel does not see its "#!"`), nil},
		"other machine":             {debian(root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_AARCH64})}), fatal(`"/app" is for arm64, but the artifact is for amd64`), nil},
		"machine without a name":    {debian(root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_SPARCV9, Data: elf.ELFDATA2MSB})}), fatal(`"/app" is for EM_SPARCV9 (64 bits, big-endian), but the artifact is for amd64`), nil},
		"32 bits":                   {debian(root{"app": elftest.Make(elftest.Spec{Machine: elf.EM_386, Class: elf.ELFCLASS32})}), fatal(`"/app" is for 386, but the artifact is for amd64`), nil},
		"x32":                       {debian(root{"app": elftest.Make(elftest.Spec{Class: elf.ELFCLASS32})}), fatal(`"/app" is for EM_X86_64 (32 bits, little-endian), but the artifact is for amd64`), nil},
		"object file":               {debian(root{"app": elftest.Make(elftest.Spec{Type: elf.ET_REL})}), fatal(`"/app" is an ELF file of type ET_REL, not a program`), nil},
		"library":                   {debian(root{"app": lib("l")}), fatal(`"/app" is a library, not a program: it has no entry point`), nil},
		"nothing to load":           {debian(root{"app": elftest.Make(elftest.Spec{NoLoad: true})}), fatal(`"/app" is an ELF file with nothing to load`), nil},
		"cut off":                   {debian(root{"app": elftest.Program()[:100]}), fatal(`"/app" is a broken ELF file: program headers: it lies past the end of the file`), nil},
		"no loader":                 {root{"app": dyn(), "etc/resolv.conf": data("nameserver ::1")}, fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which is not in the artifact`), nil},
		"glibc's program on musl":   {alpine(root{"app": dyn("libc.so.6")}), fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which is not in the artifact`), nil},
		"loader is a dangling link": {debian(root{"app": dyn(), "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": gone{}}), fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which leads to "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", which is not in the artifact`), nil},
		"loader not executable":     {debian(root{"app": dyn(), "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": data(loaderFile())}), fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which is not executable (mode 0644)`), nil},
		"loader is a script":        {debian(root{"app": dyn(), "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": "#!/bin/sh\n"}), fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which is none: it is no ELF file`), nil},
		"loader of another machine": {debian(root{"app": dyn(), "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": elftest.Make(elftest.Spec{Machine: elf.EM_AARCH64})}), fatal(`"/app" needs the loader "/lib64/ld-linux-x86-64.so.2", which is for arm64`), nil},
		"missing library":           {debian(root{"app": dyn("libssl.so.3", "libc.so.6")}), fatal(`"/app" needs "libssl.so.3", which is not in the artifact`), nil},
		"two missing libraries": {
			debian(root{"app": dyn("a", "libc.so.6", "b")}),
			fatal(`"/app" needs "a", which is not in the artifact`) + "\n" + fatal(`"/app" needs "b", which is not in the artifact`), nil,
		},
		"missing library at depth 2": {
			debian(root{"app": dyn("libssl.so.3"), "usr/lib/libssl.so.3": lib("libssl.so.3", "libcrypto.so.3")}),
			fatal(`"/app" needs "libssl.so.3", which needs "libcrypto.so.3", which is not in the artifact`), nil,
		},
		"missing library at depth 3, once": {
			debian(root{"app": dyn("a"), "usr/lib/a": lib("a", "b", "c"), "usr/lib/b": lib("b", "d"), "usr/lib/c": lib("c", "d")}),
			fatal(`"/app" needs "a", which needs "b", which needs "d", which is not in the artifact`), nil,
		},
		"RUNPATH is not inherited": {
			debian(root{"app": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Interp: glibcLoader, Needed: []string{"a"}, Runpath: "/opt/l"}), "opt/l/a": lib("a", "b"), "opt/l/b": lib("b")}),
			fatal(`"/app" needs "a", which needs "b", which is not in the artifact`), nil,
		},
		"no default folders": {
			debian(root{"app": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Interp: glibcLoader, Needed: []string{"libc.so.6"}, Flags1: elf.DF_1_NODEFLIB})}),
			fatal(`"/app" needs "libc.so.6", which is not in the artifact`), nil,
		},
		"a missing needed path": {debian(root{"app": dyn("/opt/none.so")}), fatal(`"/app" needs "/opt/none.so", which is not in the artifact`), nil},
		"library of another machine": {
			debian(root{"app": dyn("a"), "usr/lib/a": elftest.Make(elftest.Spec{Type: elf.ET_DYN, Machine: elf.EM_AARCH64})}),
			fatal(`"/app" needs "a", which the artifact has only for arm64 ("/lib/a")`), nil,
		},
		"library is none": {debian(root{"app": dyn("a"), "usr/lib/a": data("INPUT(b)")}), fatal(`"/app" needs "a", but "/lib/a" is no library: it is no ELF file`), nil},
		"library in a folder of the cache only": {
			debian(root{"app": dyn("a", "libc.so.6"), "usr/local/lib/a": lib("a")}),
			warning(`"/app" needs "a", which is in "/usr/local/lib", but the loader finds that folder by /etc/ld.so.cache alone, which does not list it`), nil,
		},
		"setuid of another user takes no LD_LIBRARY_PATH": {
			debian(root{"app": &tree.Node{Mode: 0o755 | fs.ModeSetuid, UID: 33, Content: blob(dyn("a"))}, "opt/l/a": lib("a")}),
			fatal(`"/app" needs "a", which is not in the artifact`),
			map[string]string{"LD_LIBRARY_PATH": "/opt/l"},
		},
		"an unknown loader": {
			debian(root{"app": elftest.Dynamic("/system/bin/linker64", "libx.so"), "system/bin/linker64": elftest.Program()}),
			warning(`"/app" needs "libx.so", which is not in the artifact`), nil,
		},
		"musl: missing library": {
			alpine(root{"app": elftest.Dynamic(muslLoader, "libssl.so.3", "libz.so.1")}),
			fatal(`"/app" needs "libz.so.1", which is not in the artifact`), nil,
		},
		"musl: missing library at depth 2": {
			alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "usr/lib/a": lib("a", "libgcc_s.so.1")}),
			fatal(`"/app" needs "a", which needs "libgcc_s.so.1", which is not in the artifact`), nil,
		},
		"musl does not know a SONAME":    {alpine(root{"app": elftest.Dynamic(muslLoader, "/l/real", "a"), "l/real": lib("a")}), fatal(`"/app" needs "a", which is not in the artifact`), nil},
		"musl does not search multiarch": {alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "usr/lib/x86_64-linux-gnu/a": lib("a")}), fatal(`"/app" needs "a", which is not in the artifact`), nil},
		"musl's path file comes instead": {alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "etc/ld-musl-x86_64.path": data("/x\n"), "usr/lib/a": lib("a")}), fatal(`"/app" needs "a", which is not in the artifact`), nil},
		"musl takes the first":           {alpine(root{"app": elftest.Dynamic(muslLoader, "a"), "lib/a": elftest.Make(elftest.Spec{Machine: elf.EM_AARCH64}), "usr/lib/a": lib("a")}), fatal(`"/app" needs "a", but "/lib/a" is for arm64`), nil},
		"script without interpreter":     {debian(root{"app": "#!/bin/bash\n"}), fatal(`"/bin/bash" leads to "/usr/bin/bash", which is not in the artifact (the interpreter of "/app")`), nil},
		"script of nothing":              {debian(root{"app": "#! \t\n/bin/sh\n"}), fatal(`"/app" names no interpreter after its "#!"`), nil},
		"CRLF script":                    {debian(root{"app": "#!/bin/sh\r\necho\r\n"}), fatal(`"/app" ends its first line with CR LF, so its interpreter is "/bin/sh\r", which is not in the artifact`), nil},
		"CRLF script with an argument":   {debian(root{"app": "#!/bin/sh -e\r\n"}), warning(`"/app" ends its first line with CR LF, so /bin/sh gets the argument "-e\r"`), nil},
		"CRLF script of env":             {debian(root{"app": "#!/usr/bin/env sh\r\n"}), fatal(`"/app" ends its first line with CR LF, so /usr/bin/env looks for the program "sh\r"`), nil},
		"script of a folder":             {debian(root{"app": "#!/usr/bin\n"}), fatal(`"/usr/bin" is a folder, not a program (the interpreter of "/app")`), nil},
		"script of a file that is 0644":  {debian(root{"app": "#!/x\n", "x": data("")}), fatal(`"/x" is not executable (mode 0644) (the interpreter of "/app")`), nil},
		"a long interpreter":             {debian(root{"app": long}), fatal(`"/app" has a "#!" line whose interpreter does not end within the 256 bytes that the kernel reads`), nil},
		"scripts too deep": {
			debian(root{"app": "#!/1\n", "1": "#!/2\n", "2": "#!/3\n", "3": "#!/4\n", "4": "#!/5\n", "5": "#!/bin/sh\n"}),
			fatal(`"/5" is a script that is run by a script, more than 5 times over (the interpreter of "/4") (the interpreter of "/3") (the interpreter of "/2") (the interpreter of "/1") (the interpreter of "/app")`), nil,
		},
		"interpreter without its library": {
			debian(root{"app": "#!/usr/bin/python3\n", "usr/bin/python3": dyn("libz.so.1")}),
			fatal(`"/usr/bin/python3" needs "libz.so.1", which is not in the artifact (the interpreter of "/app")`), nil,
		},
		"env is missing":        {debian(root{"app": "#!/usr/bin/env sh\n", "usr/bin/env": gone{}}), fatal(`"/usr/bin/env" is not in the artifact (the interpreter of "/app")`), nil},
		"env python is missing": {debian(root{"app": "#!/usr/bin/env python3\n"}), fatal(`"/app" is run by "python3", which PATH (/usr/bin:/bin) of the workload does not have`), nil},
		"env python is missing, PATH unknown": {
			debian(root{"app": "#!/usr/bin/env python3\n"}),
			warning(`"/app" is run by "python3", which PATH (/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin) of the workload does not have`),
			map[string]string{},
		},
		"env with two words":    {debian(root{"app": "#!/usr/bin/env sh -e\n"}), fatal(`"/app" is run by "sh -e", which PATH (/usr/bin:/bin) of the workload does not have`), nil},
		"env -S python missing": {debian(root{"app": "#!/usr/bin/env -S python3 -u\n"}), fatal(`"/app" is run by "python3", which PATH (/usr/bin:/bin) of the workload does not have`), nil},
		"env python is broken": {
			debian(root{"app": "#!/usr/bin/env python3\n", "usr/bin/python3": dyn("libz.so.1")}),
			fatal(`"/usr/bin/python3" needs "libz.so.1", which is not in the artifact (/usr/bin/env of "/app" runs it)`), nil,
		},
		"env of itself": {debian(root{"usr/bin/app": "#!/usr/bin/env app\n", "app": link("usr/bin/app")}), fatal(`"/usr/bin/app" is a script that is run by a script, more than 5 times over` + strings.Repeat(` (/usr/bin/env of "/usr/bin/app" runs it)`, 4) + ` (/usr/bin/env of "/app" runs it)`), nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := guestOf(t, tt.root, "/app")
			if tt.env != nil {
				g.Env = tt.env
			}
			var lines []string
			if tt.want != "" {
				lines = strings.Split(tt.want, "\n")
			}
			want(t, check(t, g), lines...)
		})
	}
}

func TestEntrypointMustBeAbsolute(t *testing.T) {
	want(t, check(t, guestOf(t, debian(nil), "sh")), `fatal workload.entrypoint[0]: "sh" is no absolute path, and Volant's agent has no PATH to find it by`)
}

func TestWorkdir(t *testing.T) {
	r := debian(root{"srv": nil, "file": data("x"), "to": link("srv"), "app": elftest.Program(), "run": link("var/run"), "var/run": nil})
	for dir, line := range map[string]string{
		"":          "",
		"/srv":      "",
		"/to":       "",
		"/tmp":      "", // made at boot
		"/dev/shm":  "",
		"/var/run":  "",
		"/nope":     `fatal workload.workdir: "/nope" is not in the artifact`,
		"/file":     `fatal workload.workdir: "/file" is a file, not a folder`,
		"/run/made": `fatal workload.workdir: "/run/made" is not there when the workload runs: an empty filesystem is mounted on "/var/run"`,
	} {
		g := guestOf(t, r, "/app")
		g.Workdir = dir
		if got := strings.Join(check(t, g), "\n"); got != line {
			t.Errorf("workdir %q: %q, want %q", dir, got, line)
		}
	}
}

// A relative interpreter starts in the working directory.
func TestARelativeInterpreterStartsInTheWorkdir(t *testing.T) {
	g := guestOf(t, debian(root{"app": "#!sh\n", "srv/sh": elftest.Program()}), "/app")
	want(t, check(t, g), `fatal workload.entrypoint[0]: "sh" is not in the artifact (the interpreter of "/app")`)
	g.Workdir = "/srv"
	want(t, check(t, g))
}

func TestRootfs(t *testing.T) {
	app := root{"app": elftest.Program()}
	with := func(more root) root {
		for name, v := range app {
			more[name] = v
		}
		return debian(more)
	}
	none := `, and Volant tells a VM no name server: the workload cannot look up names`
	for name, tt := range map[string]struct {
		root root
		free int64
		want string
	}{
		"good":               {with(root{}), minFree, ""},
		"room one byte less": {with(root{}), minFree - 1, "fatal filesystem.size_buffer_mb: 16777215 bytes are left free, but Volant copies its agent into the root filesystem at each boot and needs 16777216"},
		"absolute link on the agent's way": {
			with(root{"usr/local": link("/opt"), "opt/bin": nil}), minFree,
			`fatal source.image: checking /usr/local/bin, where Volant copies its agent to at boot: "/usr/local" is a symbolic link to "/opt", and an absolute link leads out of the image at that moment; make it relative`,
		},
		"no resolv.conf":       {with(root{"etc/resolv.conf": gone{}}), minFree, `note source.image: "/etc/resolv.conf" is not in the artifact` + none},
		"empty resolv.conf":    {with(root{"etc/resolv.conf": data("")}), minFree, `note source.image: "/etc/resolv.conf" names no name server` + none},
		"only comments":        {with(root{"etc/resolv.conf": data("# nameserver 1.2.3.4\nsearch x\nnameserver\n")}), minFree, `note source.image: "/etc/resolv.conf" names no name server` + none},
		"resolv.conf of /run":  {with(root{"etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf")}), minFree, `note source.image: "/etc/resolv.conf" is not there when the workload runs: an empty filesystem is mounted on "/run"` + none},
		"resolv.conf of /proc": {with(root{"etc/resolv.conf": link("/proc/net/pnp")}), minFree, ""},
		"hidden files": {
			with(root{"run/lock": nil, "run/a/pid": data("1"), "tmp/x": link("y"), "dev/null": &tree.Node{Mode: fs.ModeDevice | fs.ModeCharDevice}, "dev/fd": link("/proc/self/fd"), "dev/odd": data(""), "dev/shm/x": data("")}), minFree,
			`warning source.image: "/dev/odd", "/dev/shm/x", "/run/a/pid", "/tmp/x": hidden at boot, when filesystems are mounted on /proc, /sys, /dev, /run and /tmp`,
		},
		"a hidden folder of a service": {
			with(root{"run/mysqld": &tree.Node{Mode: fs.ModeDir | 0o755, UID: 101}}), minFree,
			`warning source.image: "/run/mysqld": hidden at boot, when filesystems are mounted on /proc, /sys, /dev, /run and /tmp`,
		},
		"many hidden files": {
			with(root{"tmp/1": data(""), "tmp/2": data(""), "tmp/3": data(""), "tmp/4": data(""), "tmp/5": data(""), "tmp/6": data(""), "tmp/7": data("")}), minFree,
			`warning source.image: "/tmp/1", "/tmp/2", "/tmp/3", "/tmp/4", "/tmp/5" and 2 more: hidden at boot, when filesystems are mounted on /proc, /sys, /dev, /run and /tmp`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := guestOf(t, tt.root, "/app")
			g.Free = tt.free
			var lines []string
			if tt.want != "" {
				lines = []string{tt.want}
			}
			want(t, check(t, g), lines...)
		})
	}
	t.Run("the program is hidden", func(t *testing.T) {
		got := check(t, guestOf(t, debian(root{"tmp/app": elftest.Program()}), "/tmp/app"))
		want(t, got[:1], `fatal workload.entrypoint[0]: "/tmp/app" is not there when the workload runs: an empty filesystem is mounted on "/tmp"`)
	})
}

func TestInitramfs(t *testing.T) {
	good := func(more root) root {
		r := root{"init": elftest.Program(), "bin/kestrel": elftest.Program(), "app": elftest.Program()}
		for name, v := range more {
			if v == (gone{}) {
				delete(r, name)
			} else {
				r[name] = v
			}
		}
		return r
	}
	shim := []string{"/init", "/bin/kestrel"}
	for name, tt := range map[string]struct {
		root root
		boot []string
		want string
	}{
		"good":               {good(nil), shim, ""},
		"custom init":        {good(root{"bin/kestrel": gone{}, "sbin/my": "#!/app\n"}), []string{"/init", "/sbin/my"}, ""},
		"none":               {good(root{"bin/kestrel": gone{}}), []string{"/init"}, ""},
		"no init":            {good(root{"init": gone{}}), shim, `fatal init: "/init" is not in the artifact`},
		"init is a folder":   {good(root{"init": nil}), shim, `fatal init: "/init" is a folder, not a program`},
		"init dangles":       {good(root{"init": link("/sbin/init")}), shim, `fatal init: "/init" leads to "/sbin/init", which is not in the artifact`},
		"init is 0644":       {good(root{"init": data(elftest.Program())}), []string{"/init"}, `fatal init: "/init" is not executable (mode 0644)`},
		"init is dynamic":    {good(root{"init": elftest.Dynamic(glibcLoader)}), []string{"/init"}, `fatal init: "/init" needs the loader "/lib64/ld-linux-x86-64.so.2", which is not in the artifact`},
		"no agent":           {good(root{"bin/kestrel": gone{}}), shim, `fatal agent: "/bin/kestrel" is not in the artifact`},
		"no custom init":     {good(nil), []string{"/init", "/sbin/my"}, `fatal init.path: "/sbin/my" is not in the artifact`},
		"no name server":     {good(nil), shim, ""},
		"init in a mount":    {good(root{"init": link("run/i"), "run/i": elftest.Program()}), shim, `warning source.image: "/run/i": hidden at boot, when filesystems are mounted on /proc, /sys, /dev, /run and /tmp`},
		"nothing is mounted": {good(root{"run/i": data("")}), []string{"/init"}, ""},
		"dynamic programs": {
			good(root{"bin/curl": elftest.Dynamic(muslLoader, "libz.so.1"), "lib/x.so": elftest.Library("x", "none"), "bin/s": "#!/none\n", "doc": data(elftest.Dynamic("/none"))}), shim,
			`warning source.image: "/bin/curl" needs the loader "/lib/ld-musl-x86_64.so.1", which is not in the artifact`,
		},
		"a program of another machine": {good(root{"bin/x": elftest.Make(elftest.Spec{Machine: elf.EM_AARCH64, Interp: "/l"})}), shim, `warning source.image: "/bin/x" is for arm64, but the artifact is for amd64`},
	} {
		t.Run(name, func(t *testing.T) {
			g := guestOf(t, tt.root, "/app")
			g.Medium, g.Boot, g.Free = Initramfs, tt.boot, 0
			var lines []string
			if tt.want != "" {
				lines = []string{tt.want}
			}
			want(t, check(t, g), lines...)
		})
	}
}

func TestScanOfAnInitramfsIsCapped(t *testing.T) {
	r := root{"init": elftest.Program()}
	for i := range maxNamed + 2 {
		r[fmt.Sprintf("bin/p%d", i)] = elftest.Dynamic("/none")
	}
	g := guestOf(t, r)
	g.Medium, g.Boot = Initramfs, []string{"/init"}
	got := check(t, g)
	if len(got) != maxNamed+1 || got[maxNamed] != "warning source.image: 2 more programs lack their loader or a library" {
		t.Errorf("found %q", got)
	}
}

// What is hostile ends, and says so.
func TestLimits(t *testing.T) {
	many := func(n int) root {
		r := debian(nil)
		var names []string
		for i := range n {
			name := fmt.Sprintf("l%d", i)
			names = append(names, name)
			r["usr/lib/"+name] = elftest.Library(name)
		}
		half := min(len(names), 1000) // a program needs 1024 at most
		r["usr/lib/more"] = elftest.Library("more", names[half:]...)
		r["app"] = elftest.Dynamic(glibcLoader, append([]string{"more"}, names[:half]...)...)
		return r
	}
	// The program, its loader and "more" count too.
	want(t, check(t, guestOf(t, many(MaxLibraries-3), "/app")))
	want(t, check(t, guestOf(t, many(MaxLibraries-2), "/app")))
	got := check(t, guestOf(t, many(MaxLibraries-1), "/app"))
	want(t, got, `warning workload.entrypoint[0]: "/app" needs more than 2000 libraries; the others were not looked at`)

	// Libraries that each search 256 folders in vain before the right one.
	r := debian(nil)
	var libs []string
	for i := range 900 {
		libs = append(libs, fmt.Sprintf("l%d", i))
		r["last/l"+fmt.Sprint(i)] = elftest.Library("")
		r["usr/lib/c"+fmt.Sprint(i)] = elftest.Library("")
	}
	r["app"] = blob(elftest.Dynamic(glibcLoader, libs...))
	for i := range libs {
		r["usr/lib/l"+fmt.Sprint(i)] = elftest.Make(elftest.Spec{Type: elf.ET_DYN, Needed: []string{fmt.Sprintf("c%d", i), fmt.Sprintf("d%d", i)}, Runpath: strings.Repeat("/x:", 255) + "/last"})
		r["last/d"+fmt.Sprint(i)] = elftest.Make(elftest.Spec{Type: elf.ET_DYN, Needed: libs, Runpath: strings.Repeat("/x:", 255) + "/last"})
	}
	g := guestOf(t, r, "/app")
	g.Medium, g.Boot = Initramfs, []string{"/init"}
	for i := range 8 { // each of these has to be looked at anew
		if err := g.Tree.Put(fmt.Sprintf("usr/bin/p%d", i), &tree.Node{Mode: 0o755, Content: r["app"].(blob)}); err != nil {
			t.Fatal(err)
		}
	}
	got = check(t, g)
	if len(got) == 0 || got[len(got)-1] != "warning source.image: there is more to look at than a check does; what comes later was not checked" {
		t.Errorf("found %d lines, the last %q", len(got), got[max(len(got)-1, 0):])
	}
}

func TestCheckIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := root{"init": elftest.Program()}
	for i := range 3000 {
		r[fmt.Sprintf("bin/p%d", i)] = elftest.Dynamic("/none")
	}
	g := guestOf(t, r)
	g.Medium, g.Boot = Initramfs, []string{"/init"}
	if _, err := Check(ctx, g); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// broken fails when it is read.
type broken struct{ blob }

func (broken) Open() (io.ReadCloser, error) { return nil, errors.New("the disk is gone") }

func TestContentThatCannotBeReadIsAnError(t *testing.T) {
	g := guestOf(t, debian(root{"app": &tree.Node{Mode: 0o755, Content: broken{blob("x")}}}), "/app")
	if found, err := Check(t.Context(), g); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("found %v, %v", found, err)
	}
}
