package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
)

func do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plant makes a folder with every kind of file that the user may make.
func plant(t *testing.T, xattrs bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	p := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		do(t, os.WriteFile(p(name), []byte(content), 0o600))
		do(t, os.Chmod(p(name), mode))
	}
	do(t, os.MkdirAll(p("etc/deep/er"), 0o755))
	write("etc/passwd", "root:x:0:0\n", 0o644)
	write("etc/deep/er/empty", "", 0o400)
	write("large", strings.Repeat("0123456789abcdef", 20000), 0o644)
	write("setuid", "x", 0o755|os.ModeSetuid)
	write("with space", "y", 0o640|os.ModeSetgid)
	write("n\xff\xfe", "no UTF-8", 0o644)
	do(t, os.Chmod(p("etc/deep"), 0o777|os.ModeSticky))
	do(t, os.Link(p("etc/passwd"), p("passwd again")))
	do(t, os.Link(p("etc/passwd"), p("etc/deep/third")))
	do(t, os.Symlink("etc/passwd", p("link")))
	do(t, os.Symlink("/"+strings.Repeat("long/", 50), p("long link")))
	do(t, unix.Mkfifo(p("fifo"), 0o622))
	write("sparse", "start", 0o644)
	do(t, os.Truncate(p("sparse"), 300_000))
	if xattrs {
		do(t, unix.Lsetxattr(p("large"), "user.note", []byte(strings.Repeat("v", 300)), 0))
	}
	if os.Getuid() == 0 {
		do(t, unix.Mknod(p("console"), unix.S_IFCHR|0o600, int(unix.Mkdev(5, 1))))
		do(t, unix.Mknod(p("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 700))))
		do(t, os.Lchown(p("large"), 100000, 65534))
	}
	when := []unix.Timespec{{Sec: 1234567890}, {Sec: 1234567890}}
	for _, name := range []string{"etc/passwd", "link", "etc", "fifo"} {
		do(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(name), when, unix.AT_SYMLINK_NOFOLLOW))
	}
	return dir
}

// factsOf gives an artifact in the form that other readers' views have.
func factsOf(t *testing.T, a *Artifact, extents bool) facts.Set {
	t.Helper()
	set, groups := facts.Set{}, map[string][]string{}
	for _, e := range a.Entries {
		if e.LinkOf != "" {
			groups[e.LinkOf] = append(groups[e.LinkOf], e.Name)
		}
	}
	for _, e := range a.Entries {
		f := facts.Fact{
			Name: e.Name, Type: string(e.Type), Mode: e.Mode, UID: e.UID, GID: e.GID, Xattrs: e.Xattrs, Target: e.Target,
			Mtime: facts.Time{Sec: e.Mtime.Unix(), Nsec: int64(e.Mtime.Nanosecond())},
		}
		if e.Type != Dir {
			f.Links, f.LinkGroup = uint64(e.Links), groups[e.LinkOf]
		}
		if e.Type == Char || e.Type == Block {
			f.Rdev = fmt.Sprintf("%d:%d", e.Rdev.Major, e.Rdev.Minor)
		}
		if e.Type == File {
			f.Size = e.Size
			r, err := a.Content(context.Background(), e)
			do(t, err)
			h := sha256.New()
			_, err = io.Copy(h, r)
			do(t, err)
			do(t, r.Close())
			f.SHA256 = fmt.Sprintf("%x", h.Sum(nil))
			ranges, err := a.Data(e)
			do(t, err)
			for _, x := range ranges {
				if extents {
					f.Data = append(f.Data, facts.Extent{Start: x.Start, End: (x.End + facts.Block - 1) / facts.Block * facts.Block})
				}
			}
		}
		set[e.Name] = f
	}
	return set
}

func same(t *testing.T, what string, got, want facts.Set, except ...facts.Field) {
	t.Helper()
	if len(want) < 10 {
		t.Fatalf("%s: only %d names to compare with", what, len(want))
	}
	for _, line := range facts.Diff(got, want, facts.Fields(except...)...) {
		t.Errorf("%s: we say first, they second: %s", what, line)
	}
}

// shell runs a command in dir and gives what it printed.
func shell(t *testing.T, dir, command string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", command, err, stderr.Bytes())
	}
	return out
}

// TestArchivesOfOtherProgramsAreReadAsTheKernelSeesTheFolder has archives written
// by programs that are not ours.
func TestArchivesOfOtherProgramsAreReadAsTheKernelSeesTheFolder(t *testing.T) {
	dir := plant(t, false)
	want, err := facts.FromDir(context.Background(), dir, facts.Options{Content: true})
	do(t, err)
	for name, f := range want { // newc has whole seconds and no xattrs
		f.Mtime.Nsec, f.Xattrs = 0, nil
		want[name] = f
	}
	for _, x := range []struct{ program, command string }{
		{"cpio", "find . | cpio -o -H newc --quiet"},
		{"cpio", "find . | LC_ALL=C sort | cpio -o -H crc --quiet"},
		{"cpio", "find . -depth | cpio -o -H newc --quiet --reproducible"},
		{"bsdcpio", "find . | LC_ALL=C sort | bsdcpio -o -H newc --quiet"},
		{"bsdtar", "bsdtar --format newc -cf - ."},
		{"gzip", "find . | LC_ALL=C sort | cpio -o -H newc --quiet | gzip -9"},
		{"zstd", "find . | LC_ALL=C sort | cpio -o -H newc --quiet | zstd -q -19 -T0"},
		{"zstd", "find . | LC_ALL=C sort | cpio -o -H newc --quiet | zstd -q --long=27 --ultra -20 --no-check"},
	} {
		t.Run(x.command, func(t *testing.T) {
			testneed.Tool(t, x.program, "cpio", "sh", "find")
			data := shell(t, dir, x.command)
			a, err := open(string(data), Options{Spool: &memory{}})
			if err != nil {
				t.Fatal(err)
			}
			same(t, x.command, factsOf(t, a, false), want)
			if strings.Contains(x.command, "-depth") != (len(a.Archive.Problems) > 0) {
				t.Errorf("problems are %q", a.Archive.Problems)
			}
		})
	}
}

// TestListIsThatOfCpio compares with "cpio -tvn", which prints what is in the
// headers.
func TestListIsThatOfCpio(t *testing.T) {
	testneed.Tool(t, "cpio", "sh", "find")
	dir := plant(t, false)
	data := shell(t, dir, "find . | LC_ALL=C sort | cpio -o -H newc --quiet")
	file := filepath.Join(t.TempDir(), "archive")
	do(t, os.WriteFile(file, data, 0o600))
	a, err := open(string(data), Options{})
	do(t, err)
	line := regexp.MustCompile(`^([-dlbcps])([-rwxsStT]{9}) +(\d+) (\d+) +(\d+) +(\d+|\d+, *\d+) (\w{3} +\d+ +[\d:]+) (.*)$`)
	listed := 0
	for text := range strings.Lines(string(shell(t, dir, "cpio -itvn --quiet < '"+file+"'"))) {
		m := line.FindStringSubmatch(strings.TrimSuffix(text, "\n"))
		if m == nil {
			t.Fatalf("cpio prints %q", text)
		}
		name, target, _ := strings.Cut(m[8], " -> ")
		name = strings.ReplaceAll(name, `\377\376`, "\xff\xfe")
		e := a.Lookup(name)
		if e == nil {
			t.Errorf("cpio lists %q", name)
			continue
		}
		listed++
		size := fmt.Sprint(e.Record().Size())
		if e.Type == Char || e.Type == Block {
			size = fmt.Sprintf("%d,%d", e.Rdev.Major, e.Rdev.Minor)
		}
		got := fmt.Sprintf("%d %d %d %s %s", e.Links, e.UID, e.GID, size, e.Target)
		if want := fmt.Sprintf("%s %s %s %s %s", m[3], m[4], m[5], strings.ReplaceAll(m[6], " ", ""), target); got != want {
			t.Errorf("%q: we say %q, cpio %q", name, got, want)
		}
		if day := e.Mtime.Format("Jan _2"); !strings.HasPrefix(m[7], day) {
			t.Errorf("%q: we say %q, cpio %q", name, day, m[7])
		}
	}
	if listed != len(a.Entries) {
		t.Errorf("cpio lists %d of %d entries", listed, len(a.Entries))
	}
}

// TestImagesAreReadAsOthersReadThem has an image of mke2fs, which debugfs and the
// kernel read too.
func TestImagesAreReadAsOthersReadThem(t *testing.T) {
	testneed.Tool(t, "mke2fs", "debugfs")
	testneed.Root(t) // debugfs keeps owners; mke2fs -d takes them from the folder
	dir := plant(t, true)
	mke2fs, _ := testneed.Look("mke2fs")
	debugfs, _ := testneed.Look("debugfs")
	for _, features := range []string{"64bit,metadata_csum", "^extents,^64bit,^metadata_csum", "inline_data,metadata_csum_seed"} {
		t.Run(features, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-b", "4096", "-I", "256", "-O", features, "-d", dir, image, "32M").CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			file, err := os.Open(image)
			do(t, err)
			defer file.Close()
			a, err := Open(context.Background(), file, 32<<20, Options{Verify: true})
			do(t, err)
			if !strings.Contains(features, "inline_data") { // which debugfs dumps wrongly
				theirs, err := facts.FromDebugfs(context.Background(), debugfs, image, t.TempDir(), facts.Options{Content: true, Extents: facts.Mapped})
				do(t, err)
				var except []facts.Field
				if strings.Contains(features, "^extents") {
					except = append(except, facts.Data) // it lists extents only
				}
				same(t, "debugfs", factsOf(t, a, true), theirs, except...)
			}

			mount, unmount := testneed.Mount(t, image, "ro,noload")
			defer unmount()
			kernel, err := facts.FromDir(context.Background(), mount, facts.Options{Content: true})
			do(t, err)
			same(t, "the kernel", factsOf(t, a, false), kernel)
		})
	}
}

// TestDataLeavesOutWhatReadsAsZeros has debugfs allocate blocks inside and behind a
// file without writing them.
func TestDataLeavesOutWhatReadsAsZeros(t *testing.T) {
	testneed.Tool(t, "mke2fs", "debugfs")
	mke2fs, _ := testneed.Look("mke2fs")
	debugfs, _ := testneed.Look("debugfs")
	image := filepath.Join(t.TempDir(), "image")
	out, err := exec.Command(mke2fs, "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d", plant(t, false), image, "16M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, request := range []string{"fallocate sparse 10 20", "fallocate sparse 100 110"} {
		if out, err := exec.Command(debugfs, "-w", "-R", request, image).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	data, err := os.ReadFile(image)
	do(t, err)
	a, err := open(string(data), Options{Verify: true})
	do(t, err)
	e := a.Lookup("sparse")
	in, err := a.Image.Inode(uint32(e.Inode))
	do(t, err)
	extents, err := in.Extents()
	do(t, err)
	if len(extents) != 3 || !extents[1].Unwritten || !extents[2].Unwritten {
		t.Fatalf("debugfs made extents %v", extents)
	}
	got, err := a.Data(e)
	do(t, err)
	if len(got) != 1 || got[0] != (Range{0, 4096}) {
		t.Errorf("data is at %v", got)
	}
	r, err := a.Content(context.Background(), e)
	do(t, err)
	content, err := io.ReadAll(r)
	do(t, err)
	if string(content) != "start"+strings.Repeat("\x00", 299_995) {
		t.Error("the content is another")
	}
}
