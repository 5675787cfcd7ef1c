package tools

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"github.com/volant/fledge-action/internal/testneed"
)

var architectures = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func packages(t *testing.T) Source {
	t.Helper()
	dir := testneed.Packages(t)
	text, err := os.ReadFile(filepath.Join(dir, testneed.PackagesLock))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := Parse(testneed.PackagesLock, text)
	if err != nil {
		t.Fatal(err)
	}
	return Source{Lock: lock, Debs: dir}
}

// TestTheCommittedLockListsTheSamePackages tells of versions that differ, and fails for
// nothing that an archive's security update changes.
func TestTheCommittedLockListsTheSamePackages(t *testing.T) {
	committedLock, err := Committed()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committedLock.Format(), committed) {
		t.Error("tools.lock is not as Format writes it; renew the lock: make tools-lock")
	}
	ours, theirs := committedLock.Versions(), packages(t).Lock.Versions()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(ours)), slices.Sorted(maps.Keys(theirs))); diff != "" {
		t.Errorf("packages, tools.lock's first; renew the lock: make tools-lock\n%s", diff)
	}
	for name, version := range theirs {
		if ours[name] != version {
			t.Logf("NOTE: %s is tested in version %s, and %s in tools.lock; renew the lock: make tools-lock", name, version, ours[name])
		}
	}
}

// TestNothingIsMissingAndNothingElseIsThere follows what the programs need, by Go's reader
// of ELF files.
func TestNothingIsMissingAndNothingElseIsThere(t *testing.T) {
	for arch, machine := range architectures {
		t.Run(arch, func(t *testing.T) {
			files, err := packages(t).Files(t.Context(), arch)
			if err != nil {
				t.Fatal(err)
			}
			left := map[string]File{}
			for _, f := range files {
				left[f.Name] = f
			}
			libraries := map[string]string{} // by the names that programs know
			for name := range left {
				libraries[path.Base(name)] = name
			}
			var need func(name string)
			need = func(name string) {
				f, ok := left[name]
				if !ok {
					return // seen
				}
				delete(left, name)
				if f.Target != "" {
					target := path.Join(path.Dir("/"+name), f.Target)
					if path.IsAbs(f.Target) {
						target = f.Target
					}
					if !slices.ContainsFunc(files, func(o File) bool { return "/"+o.Name == target }) {
						t.Errorf("%s leads to %s, which is not there", name, target)
					}
					need(target[1:])
					return
				}
				e, err := elf.NewFile(bytes.NewReader(f.Body))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if e.Machine != machine {
					t.Errorf("%s is for %v", name, e.Machine)
				}
				if s := e.Section(".interp"); s != nil {
					loader, err := s.Data()
					if err != nil {
						t.Fatal(err)
					}
					at := strings.Trim(string(loader), "/\x00")
					if !slices.ContainsFunc(files, func(o File) bool { return o.Name == at }) {
						t.Errorf("%s needs the loader %s, which is not there", name, at)
					}
					need(at)
				}
				libs, err := e.ImportedLibraries()
				if err != nil {
					t.Fatal(err)
				}
				for _, lib := range libs {
					if libraries[lib] == "" {
						t.Errorf("%s needs %s, which is not there", name, lib)
					}
					need(libraries[lib])
				}
			}
			for _, program := range []string{"sbin/mkfs.xfs", "sbin/xfs_repair", "sbin/mkfs.btrfs", "bin/btrfs"} {
				if left[program].Mode != 0o755 {
					t.Errorf("%s has mode %04o", program, left[program].Mode)
				}
				need(program)
			}
			if libraries["libgcc_s.so.1"] == "" {
				t.Error("libgcc_s.so.1, which libc opens when a thread is cancelled, is not there")
			}
			need(libraries["libgcc_s.so.1"])
			for name := range left {
				if !strings.HasPrefix(name, "usr/share/doc/") && !strings.HasPrefix(name, "usr/share/common-licenses/") {
					t.Errorf("nobody needs %s", name)
				}
			}
			for _, p := range packages(t).Lock.Packages {
				_, own := left["usr/share/doc/"+p.Name+"/copyright"]
				link := left["usr/share/doc/"+p.Name].Target
				_, other := left["usr/share/doc/"+link+"/copyright"]
				if !own && (link == "" || !other) {
					t.Errorf("there is no licence of %s", p.Name)
				}
			}
		})
	}
}

// TestArm64MakesAndChecksImages has QEMU for the processor.
func TestArm64MakesAndChecksImages(t *testing.T) {
	testneed.Tool(t, "qemu-aarch64-static")
	files, err := packages(t).Files(t.Context(), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if err := Unpack(root, files); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) (string, error) {
		// -L: where the loader and what it opens are looked for.
		out, err := exec.Command("qemu-aarch64-static", append([]string{"-L", root, filepath.Join(root, program)}, args...)...).CombinedOutput()
		return string(out), err
	}
	for _, c := range [][][]string{
		{{"sbin/mkfs.xfs", "-q"}, {"sbin/xfs_repair", "-n"}},
		{{"sbin/mkfs.btrfs", "-q"}, {"bin/btrfs", "check", "--progress"}},
	} {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(image, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 320<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := run(c[1][0], append(c[1][1:], image)...); err == nil {
			t.Errorf("%q passes nothing: %s", c[1], out)
		}
		for _, argv := range c {
			if out, err := run(argv[0], append(argv[1:], image)...); err != nil {
				t.Errorf("%q: %v: %s", argv, err, out)
			}
		}
	}
}

// deb makes a package of these entries.
func deb(t *testing.T, entries ...*tar.Header) []byte {
	t.Helper()
	var data bytes.Buffer
	z, err := xz.NewWriter(&data)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, h := range entries {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, h.Size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return ar("debian-binary", []byte("2.0"), "data.tar.xz", data.Bytes())
}

func ar(parts ...any) []byte {
	out := []byte("!<arch>\n")
	for part := range slices.Chunk(parts, 2) {
		body := part[1].([]byte)
		out = append(out, fmt.Sprintf("%-16s%-12d%-6d%-6d%-8o%-10d`\n", part[0], 0, 0, 0, 0o100644, len(body))...)
		out = append(out, body...)
		if len(body)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

func TestADebsFilesAreReadAndOddOnesRefused(t *testing.T) {
	all := func(string) bool { return true }
	folder := &tar.Header{Typeflag: tar.TypeDir, Name: "./bin/", Mode: 0o755}
	plain := func(mode, size int64) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: "./bin/x", Mode: mode, Size: size}
	}
	link := &tar.Header{Typeflag: tar.TypeSymlink, Name: "./bin/y", Linkname: "x", Mode: 0o777}
	files, err := Read(deb(t, folder, plain(0o755, MaxFile), link), all)
	if err != nil || len(files) != 2 || len(files[0].Body) != MaxFile || files[0].Name != "bin/x" || files[0].Mode != 0o755 || files[1].Target != "x" {
		t.Errorf("%d files, %v", len(files), err)
	}
	whole := deb(t, folder, plain(0o644, 1))
	for name, c := range map[string]struct {
		deb  []byte
		want string
	}{
		"a file of one byte more": {deb(t, plain(0o644, MaxFile+1)), "16777217 bytes, more than 16777216"},
		"setuid":                  {deb(t, plain(0o4755, 1)), `"bin/x" has mode 4755`},
		"a mode of another":       {deb(t, plain(0o600, 1)), `"bin/x" has mode 0600`},
		"a device":                {deb(t, &tar.Header{Typeflag: tar.TypeChar, Name: "./bin/x", Mode: 0o644}), "neither a file nor"},
		"a hard link":             {deb(t, &tar.Header{Typeflag: tar.TypeLink, Name: "./bin/x", Linkname: "./bin/y"}), "neither a file nor"},
		"another compression":     {ar("data.tar.zst", []byte("x")), "not xz"},
		"no data":                 {ar("debian-binary", []byte("2.0")), "no member"},
		"no archive":              {[]byte("PK"), "no ar archive"},
		"cut off in the data":     {whole[:len(whole)-9], "cut off"},
		"data that is not xz":     {ar("data.tar.xz", []byte("tar")), "data.tar.xz"},
		"a negative size":         {bytes.Replace(whole, []byte("3         `"), []byte("-3        `"), 1), "damaged header"},
	} {
		if files, err := Read(c.deb, all); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d files, %v", name, len(files), err)
		}
	}
}

func TestOnlySoMuchIsInflated(t *testing.T) {
	const size = 512 + 1<<20 + 1024 // a header, a file, the end
	body := deb(t, &tar.Header{Typeflag: tar.TypeReg, Name: "x", Mode: 0o644, Size: 1 << 20})
	none := func(string) bool { return false }
	if _, err := read(body, none, size); err != nil {
		t.Error(err)
	}
	if _, err := read(body, none, size-1); err == nil || !strings.Contains(err.Error(), "more than 1050111 bytes") {
		t.Errorf("got %v", err)
	}
}

const digest = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestAMistakeInALockHasALine(t *testing.T) {
	good := "package amd64 x 1:2 " + digest + " 16777216 debian/T/pool/x_2.deb\nfile bin/x\n"
	lock, err := Parse("l", []byte("# x\n\n"+good))
	if err != nil {
		t.Fatal(err)
	}
	if want := []Package{{"amd64", "x", "1:2", digest, MaxPackage, "debian/T/pool/x_2.deb", []string{"bin/x"}}}; !cmp.Equal(lock.Packages, want) {
		t.Errorf("got %+v", lock.Packages)
	}
	for _, c := range []struct{ text, want string }{
		{"", "l: no packages"},
		{"file x\n", "l:1: a file before"},
		{good + "files x\n", `l:3: want "package`},
		{good + "file ../x\n", `l:3: "../x" is not`},
		{good + "file /x\n", `l:3: "/x" is not`},
		{good + "file bin/x\n", `l:3: "bin/x" is there twice`},
		{good + good, "l:3: x for amd64 is there twice"},
		{strings.Replace(good, "16777216", "16777217", 1), `l:1: size "16777217"`},
		{strings.Replace(good, "16777216", "0", 1), `l:1: size "0"`},
		{strings.Replace(good, "abcdef", "ABCDEF", 1), "is not a SHA-256"},
		{strings.Replace(good, "01", "", 1), "is not a SHA-256"},
		{strings.Replace(good, "debian/", "../", 1), "is not the path of a package"},
		{good + strings.Repeat("#", MaxLock+1-len(good)), "1048577 bytes, more than 1048576"},
	} {
		if _, err := Parse("l", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.200q: %v, want %q", c.text, err, c.want)
		}
	}
	if _, err := Parse("l", []byte(good+strings.Repeat("#", MaxLock-len(good)))); err != nil {
		t.Error(err)
	}
}

// locked is a lock of one package that has one file.
func locked(body []byte) *Lock {
	return &Lock{Packages: []Package{{
		Arch: "amd64", Name: "x", Version: "1", SHA256: fmt.Sprintf("%x", sha256.Sum256(body)), Size: int64(len(body)),
		Path: "debian/T/pool/x_1+b~c.deb", Files: []string{"bin/x"},
	}}}
}

func TestAnArchiveThatFailsIsAskedAgain(t *testing.T) {
	body := deb(t, &tar.Header{Typeflag: tar.TypeReg, Name: "./bin/x", Mode: 0o755, Size: 3})
	foreign := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server is asked") }))
	t.Cleanup(foreign.Close)
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:10])
	}
	moved := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/before"+r.URL.Path, http.StatusFound)
	}
	other := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, foreign.URL, http.StatusFound)
	}
	for name, c := range map[string]struct {
		answers []http.HandlerFunc
		want    string
	}{
		"at once":               {[]http.HandlerFunc{send(body)}, ""},
		"moved":                 {[]http.HandlerFunc{moved, send(body)}, ""},
		"busy, then cut off":    {[]http.HandlerFunc{status(503), status(429), cut, status(500), send(body)}, ""},
		"busy for too long":     {[]http.HandlerFunc{status(503), status(503), status(503), status(503), status(503)}, "503"},
		"not there":             {[]http.HandlerFunc{status(404)}, "x_1+b~c.deb: the answer is 404"},
		"another file":          {[]http.HandlerFunc{send(bytes.Replace(body, []byte("2.0"), []byte("2.1"), 1))}, "renew the lock"},
		"a longer one":          {[]http.HandlerFunc{send(append(bytes.Clone(body), 0))}, "renew the lock"},
		"another server's":      {[]http.HandlerFunc{other, other, other, other, other}, "want the same server"},
		"moved again and again": {slices.Repeat([]http.HandlerFunc{moved}, 30), "at most five times"},
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasSuffix(r.URL.Path, "/archive/debian/T/pool/x_1+b~c.deb") || n == len(c.answers) {
					t.Errorf("request %d for %s", n, r.URL.Path)
					return
				}
				n++
				c.answers[n-1](w, r)
			}))
			defer server.Close()
			s := Source{Lock: locked(body), Archive: server.URL + "/archive", pause: time.Millisecond}
			files, err := s.Files(t.Context(), "amd64")
			if c.want == "" && (err != nil || len(files) != 1 || n != len(c.answers)) {
				t.Errorf("%d files, %v, after %d requests", len(files), err, n)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "package x 1 for amd64")) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestAFolderHasWhatTheLockListsOrNothingCounts(t *testing.T) {
	body := deb(t, &tar.Header{Typeflag: tar.TypeReg, Name: "./bin/x", Mode: 0o755, Size: 3})
	s := Source{Lock: locked(body), Debs: t.TempDir()}
	if _, err := s.Files(t.Context(), "amd64"); err == nil || !strings.Contains(err.Error(), "x_1+b~c.deb") {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Debs, "x_1+b~c.deb"), body, 0o644); err != nil {
		t.Fatal(err)
	}
	if files, err := s.Files(t.Context(), "amd64"); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if _, err := s.Files(t.Context(), "riscv64"); err == nil || !strings.Contains(err.Error(), `no files for "riscv64"`) {
		t.Errorf("got %v", err)
	}
	s.Lock.Packages = append(s.Lock.Packages, s.Lock.Packages[0])
	if _, err := s.Files(t.Context(), "amd64"); err == nil || !strings.Contains(err.Error(), `two packages have "bin/x"`) {
		t.Errorf("got %v", err)
	}
	s.Lock.Packages = s.Lock.Packages[:1]
	s.Lock.Packages[0].Files = []string{"bin/x", "bin/y"}
	if _, err := s.Files(t.Context(), "amd64"); err == nil || !strings.Contains(err.Error(), `"bin/y" 0 times`) {
		t.Errorf("got %v", err)
	}
}

// TestAFolderIsWhatTheArchiveIs unpacks under a umask, and has tar list the other.
func TestAFolderIsWhatTheArchiveIs(t *testing.T) {
	testneed.Tool(t, "tar")
	files := []File{{Name: "bin/x", Mode: 0o755, Body: []byte("x")}, {Name: "lib64/a", Mode: 0o777, Target: "/bin/x"}, {Name: "usr/share/t", Mode: 0o644}}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "new")
	if err := Unpack(dir, files); err != nil {
		t.Fatal(err)
	}
	if err := Unpack(dir, files); err == nil {
		t.Error("a folder that is there is written to")
	}
	archive, err := Tar(files)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tar", "-C", dir, "--compare", "-f", "-")
	cmd.Stdin = bytes.NewReader(archive)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "Mod time differs") && !strings.Contains(line, "id differs") {
			t.Errorf("tar says %s", line)
		}
	}
	if err == nil || len(out) == 0 {
		t.Errorf("tar says that times are the same: %v, %s", err, out)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
}
