package ext4read

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// richImage makes a small image without privilege that holds every structure:
// an indexed directory, extent trees with nodes or indirect blocks, attributes
// in inodes and in a block, long and short links, devices and hard links.
func richImage(t testing.TB, size string, args ...string) string {
	t.Helper()
	testneed.Tool(t, "mke2fs", "debugfs", "e2fsck")
	dir := t.TempDir()
	p := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(p("hello"), []byte("hello, world\n"), 0o644))
	must(os.WriteFile(p("blocks"), pattern(5000), 0o600))
	must(os.Link(p("hello"), p("hello again")))
	must(os.Symlink("hello", p("short link")))
	must(os.Symlink("/"+strings.Repeat("long/", 30), p("long link")))
	must(syscall.Mkfifo(p("fifo"), 0o644))
	must(os.MkdirAll(p("a/b/c"), 0o755))
	must(os.WriteFile(p("a/b/c/file"), nil, 0o444))
	must(os.Mkdir(p("indexed"), 0o755))
	for i := range 150 {
		must(os.Link(p("a/b/c/file"), p(fmt.Sprintf("indexed/a name with many letters, number %d", i))))
	}
	sparse, err := os.Create(p("sparse"))
	must(err)
	for i := range int64(20) {
		_, err := sparse.WriteAt([]byte("x"), i*8192)
		must(err)
	}
	must(sparse.Close())
	must(os.WriteFile(filepath.Join(dir, "value"), pattern(300), 0o600))

	image := mke2fs(t, size, append(args, "-d", dir)...)
	debugfs(t, image,
		"mknod console c 5 1", "mknod disk b 8 17",
		"ea_set hello user.small value", "ea_set -f "+p("value")+" blocks user.large",
		"ea_set blocks user.other 1", "ea_set hello security.capability 12345678901234567890")
	e2fsckD(t, image)
	return image
}

// e2fsckD rebuilds directory indexes.
func e2fsckD(t testing.TB, image string) {
	t.Helper()
	if out, err := tryRun(t, "e2fsck", "-fyD", image); err != nil && !strings.Contains(out, "FILE SYSTEM WAS MODIFIED") {
		t.Fatalf("e2fsck -D: %v\n%s", err, out)
	}
	run(t, "e2fsck", "-fn", image)
}

var richFlavours = []struct {
	name, size string
	args       []string
}{
	{"checksums", "700K", []string{"-t", "ext4", "-b", "1024", "-N", "112", "-O", "^has_journal,^resize_inode", "-g", "512"}},
	{"no checksums", "700K", []string{"-t", "ext4", "-b", "1024", "-N", "112", "-O", "^has_journal,^metadata_csum,uninit_bg", "-g", "512"}},
	{"indirect", "700K", []string{"-t", "ext2", "-b", "1024", "-N", "112", "-I", "256"}},
	{"inline data", "800K", []string{"-t", "ext4", "-b", "1024", "-N", "112", "-O", "^has_journal,inline_data,metadata_csum_seed,^resize_inode"}},
	{"journal", "2600K", []string{"-t", "ext4", "-b", "1024", "-N", "112"}},
}

func TestCheckFindsNothingWrongWithRichImages(t *testing.T) {
	for _, fl := range richFlavours {
		t.Run(fl.name, func(t *testing.T) {
			wantClean(t, richImage(t, fl.size, fl.args...), CheckOptions{})
		})
	}
}

func TestReadsRichImage(t *testing.T) {
	for _, fl := range richFlavours {
		t.Run(fl.name, func(t *testing.T) {
			f := open(t, richImage(t, fl.size, fl.args...), Options{Verify: true})
			read := func(name string) string {
				t.Helper()
				in, err := f.Lookup(name)
				if err != nil {
					t.Fatal(err)
				}
				r, err := in.Open()
				if err != nil {
					t.Fatal(err)
				}
				all, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				return string(all)
			}
			if got := read("hello again"); got != "hello, world\n" {
				t.Errorf("hello again = %q", got)
			}
			if got := read("blocks"); got != string(pattern(5000)) {
				t.Error("blocks has other content")
			}
			want := make([]byte, 19*8192+1)
			for i := range 20 {
				want[i*8192] = 'x'
			}
			if read("sparse") != string(want) {
				t.Error("sparse has other content")
			}
			for name, check := range map[string]func(in *Inode) bool{
				"console":    func(in *Inode) bool { return in.Rdev == Rdev{5, 1} && in.Mode&os.ModeCharDevice != 0 },
				"disk":       func(in *Inode) bool { return in.Rdev == Rdev{8, 17} && in.Mode&os.ModeCharDevice == 0 },
				"short link": func(in *Inode) bool { return in.Target == "hello" },
				"long link":  func(in *Inode) bool { return in.Target == "/"+strings.Repeat("long/", 30) },
				"hello": func(in *Inode) bool {
					return in.Links == 2 && in.Xattrs["user.small"] == "value" && len(in.Xattrs) == 2
				},
				"blocks": func(in *Inode) bool {
					return in.Xattrs["user.large"] == string(pattern(300)) && in.Xattrs["user.other"] == "1"
				},
				"indexed":    func(in *Inode) bool { return in.Flags&FlagIndex != 0 },
				"a/b/c/file": func(in *Inode) bool { return in.Mode == 0o444 },
				"fifo":       func(in *Inode) bool { return in.Mode == os.ModeNamedPipe|0o644 },
				".":          func(in *Inode) bool { return in.Number == RootInode },
				"lost+found": func(in *Inode) bool { return in.Mode == os.ModeDir|0o700 },
				"indexed/a name with many letters, number 59": func(in *Inode) bool { return in.Size == 0 },
			} {
				in, err := f.Lookup(name)
				if err != nil {
					t.Error(err)
				} else if !check(in) {
					t.Errorf("%s is %+v", name, in)
				}
			}
			for _, name := range []string{"no", "hello/no", "", "/hello", "a//b", "..", "a/..", "short link/x"} {
				if _, err := f.Lookup(name); !os.IsNotExist(err) && !strings.Contains(fmt.Sprint(err), "file does not exist") {
					t.Errorf("Lookup(%q): %v, want not exist", name, err)
				}
			}
		})
	}
}
