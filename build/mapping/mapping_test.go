package mapping

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

var when = time.Unix(1700000000, 0)

// project makes a folder from lines "name=content", "name->target" and "name/".
// It lies in a folder of its own, so that "../x" can be tried.
func project(t testing.TB, lines ...string) *os.Root {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		makeFile(t, dir, line)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func makeFile(t testing.TB, dir, line string) {
	t.Helper()
	name, target, isLink := strings.Cut(line, "->")
	content := ""
	if !isLink {
		name, content, _ = strings.Cut(line, "=")
	}
	full := filepath.Join(dir, name)
	err := os.MkdirAll(filepath.Dir(full), 0o755)
	switch {
	case err != nil:
	case isLink:
		err = os.Symlink(target, full)
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(full, 0o755)
	default:
		err = os.WriteFile(full, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// image makes a tree from lines as project does. Its directories are 0700 and
// owned by 7:7, to show that they stay so.
func image(t testing.TB, lines ...string) *tree.Tree {
	t.Helper()
	tr := tree.New()
	like := tree.Node{Mode: fs.ModeDir | 0o700, UID: 7, GID: 7, ModTime: time.Unix(5, 0)}
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, "->")
		content := ""
		if !isLink {
			name, content, _ = strings.Cut(line, "=")
		}
		dir := ""
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			dir = name[:i]
			if err := tr.MkdirAll(dir, like); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		n := &tree.Node{Mode: 0o640, UID: 7, GID: 7, ModTime: time.Unix(5, 0), Content: text(content)}
		if isLink {
			n = &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: target}
		}
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

type text string

func (s text) Size() int64                  { return int64(len(s)) }
func (s text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(s))), nil }

// list shows a tree one line a name: "MODE UID TIME NAME" and its content.
func list(t testing.TB, tr *tree.Tree) []string {
	t.Helper()
	var lines []string
	for name, n := range tr.Walk() {
		if name == "." {
			continue
		}
		line := fmt.Sprintf("%v %d:%d %d %s", n.Mode, n.UID, n.GID, n.ModTime.Unix(), name)
		switch {
		case n.Mode&fs.ModeSymlink != 0:
			line = fmt.Sprintf("link %s -> %s", name, n.Target)
		case n.Mode.IsRegular():
			line += "=" + read(t, n)
		}
		lines = append(lines, line)
	}
	return lines
}

func read(t testing.TB, n *tree.Node) string {
	t.Helper()
	if n.Content == nil {
		return ""
	}
	r, err := n.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// maps makes mappings of "source=dest".
func maps(pairs ...string) []Mapping {
	var ms []Mapping
	for _, p := range pairs {
		s, d, _ := strings.Cut(p, "=")
		ms = append(ms, Mapping{s, d})
	}
	return ms
}

func TestApply(t *testing.T) {
	tests := []struct {
		name    string
		project []string
		image   []string
		maps    []string
		want    []string // of the tree; directories made are root's and 0755
	}{
		{
			name:    "a program",
			project: []string{"myapp=x"},
			maps:    []string{"myapp=/usr/bin/myapp"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 usr", "drwxr-xr-x 0:0 1700000000 usr/bin",
				"-rwxr-xr-x 0:0 1700000000 usr/bin/myapp=x",
			},
		},
		{
			name:    "directories of the image keep their mode, owner and time",
			project: []string{"config.yaml=x"},
			image:   []string{"etc/"},
			maps:    []string{"./config.yaml=/etc/myapp/config.yaml"},
			want: []string{
				"drwx------ 7:7 5 etc", "drwxr-xr-x 0:0 1700000000 etc/myapp",
				"-rw-r--r-- 0:0 1700000000 etc/myapp/config.yaml=x",
			},
		},
		{
			name:    "contents of a directory are merged with the image's",
			project: []string{"html/index.html=new", "html/css/a.css=a", "html/empty/"},
			image:   []string{"srv/index.html=old", "srv/50x.html=old", "srv/css/b.css=b"},
			maps:    []string{"html/=/srv"},
			want: []string{
				"drwx------ 7:7 5 srv",
				"-rw-r----- 7:7 5 srv/50x.html=old",
				"drwx------ 7:7 5 srv/css", "-rw-r--r-- 0:0 1700000000 srv/css/a.css=a", "-rw-r----- 7:7 5 srv/css/b.css=b",
				"drwxr-xr-x 0:0 1700000000 srv/empty",
				"-rw-r--r-- 0:0 1700000000 srv/index.html=new",
			},
		},
		{
			name:    "a trailing slash of the destination changes nothing for a directory",
			project: []string{"html/a=a"},
			maps:    []string{"html=/srv/"},
			want:    []string{"drwxr-xr-x 0:0 1700000000 srv", "-rw-r--r-- 0:0 1700000000 srv/a=a"},
		},
		{
			name:    "a file goes into a destination that ends in a slash",
			project: []string{"conf/a.conf=a"},
			maps:    []string{"conf/a.conf=/etc/app/"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 etc", "drwxr-xr-x 0:0 1700000000 etc/app",
				"-rw-r--r-- 0:0 1700000000 etc/app/a.conf=a",
			},
		},
		{
			name:    "a file goes into a destination that ends in a dot",
			project: []string{"a=a"},
			maps:    []string{"a=/srv/."},
			want:    []string{"drwxr-xr-x 0:0 1700000000 srv", "-rw-r--r-- 0:0 1700000000 srv/a=a"},
		},
		{
			name:    "a file goes into an existing directory",
			project: []string{"a.conf=a"},
			image:   []string{"etc/"},
			maps:    []string{"a.conf=/etc"},
			want:    []string{"drwx------ 7:7 5 etc", "-rw-r--r-- 0:0 1700000000 etc/a.conf=a"},
		},
		{
			name:    "a file goes into the directory that a link of the image leads to",
			project: []string{"tool=t"},
			image:   []string{"bin->usr/bin", "usr/bin/"},
			maps:    []string{"tool=/bin"},
			want: []string{
				"link bin -> usr/bin", "drwx------ 7:7 5 usr", "drwx------ 7:7 5 usr/bin",
				"-rwxr-xr-x 0:0 1700000000 usr/bin/tool=t",
			},
		},
		{
			name:    "a file goes into the root",
			project: []string{"a=a"},
			maps:    []string{"a=/"},
			want:    []string{"-rw-r--r-- 0:0 1700000000 a=a"},
		},
		{
			name:    "the project folder itself",
			project: []string{"a=a", "b/c=c"},
			maps:    []string{".=/app"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 app", "-rw-r--r-- 0:0 1700000000 app/a=a",
				"drwxr-xr-x 0:0 1700000000 app/b", "-rw-r--r-- 0:0 1700000000 app/b/c=c",
			},
		},
		{
			name:    "parents are found through links of the image, which stay",
			project: []string{"tool=t"},
			image:   []string{"bin->usr/bin", "usr/bin/sh=sh"},
			maps:    []string{"tool=/bin/tool"},
			want: []string{
				"link bin -> usr/bin", "drwx------ 7:7 5 usr", "drwx------ 7:7 5 usr/bin",
				"-rw-r----- 7:7 5 usr/bin/sh=sh", "-rwxr-xr-x 0:0 1700000000 usr/bin/tool=t",
			},
		},
		{
			name:    "absolute and climbing links of the image stay inside it",
			project: []string{"evil=e"},
			image:   []string{"abs->/etc", "up->../../../etc", "etc/"},
			maps:    []string{"evil=/abs/a", "./evil=/up/b"},
			want: []string{
				"link abs -> /etc", "drwx------ 7:7 5 etc",
				"-rw-r--r-- 0:0 1700000000 etc/a=e", "-rw-r--r-- 0:0 1700000000 etc/b=e", "link up -> ../../../etc",
			},
		},
		{
			name:    "a file takes the place of a link, not of what it leads to",
			project: []string{"mysh=m"},
			image:   []string{"bin/busybox=b", "bin/sh->busybox"},
			maps:    []string{"mysh=/bin/sh"},
			want: []string{
				"drwx------ 7:7 5 bin", "-rw-r----- 7:7 5 bin/busybox=b", "-rwxr-xr-x 0:0 1700000000 bin/sh=m",
			},
		},
		{
			name:    "a file takes the place of a link that leads nowhere or in a circle",
			project: []string{"f=f"},
			image:   []string{"etc/resolv.conf->../run/resolv.conf", "etc/loop->loop", "etc/through->resolv.conf/x", "etc/passwd=p", "etc/bad->passwd/x"},
			maps:    []string{"f=/etc/resolv.conf", "./f=/etc/loop", "././f=/etc/bad"},
			want: []string{
				"drwx------ 7:7 5 etc", "-rw-r--r-- 0:0 1700000000 etc/bad=f", "-rw-r--r-- 0:0 1700000000 etc/loop=f",
				"-rw-r----- 7:7 5 etc/passwd=p", "-rw-r--r-- 0:0 1700000000 etc/resolv.conf=f", "link etc/through -> resolv.conf/x",
			},
		},
		{
			name:    "a directory follows a link to a directory, also one that is missing",
			project: []string{"html/a=a"},
			image:   []string{"www->srv/www", "srv/www/x=x", "data->/mnt/data"},
			maps:    []string{"html=/www", "./html=/data"},
			want: []string{
				"link data -> /mnt/data",
				"drwxr-xr-x 0:0 1700000000 mnt", "drwxr-xr-x 0:0 1700000000 mnt/data", "-rw-r--r-- 0:0 1700000000 mnt/data/a=a",
				"drwx------ 7:7 5 srv", "drwx------ 7:7 5 srv/www", "-rw-r--r-- 0:0 1700000000 srv/www/a=a", "-rw-r----- 7:7 5 srv/www/x=x",
				"link www -> srv/www",
			},
		},
		{
			name:    "a directory inside a mapped one follows the image's link",
			project: []string{"rootfs/bin/tool=t"},
			image:   []string{"bin->usr/bin", "usr/bin/"},
			maps:    []string{"rootfs=/"},
			want: []string{
				"link bin -> usr/bin", "drwx------ 7:7 5 usr", "drwx------ 7:7 5 usr/bin", "-rwxr-xr-x 0:0 1700000000 usr/bin/tool=t",
			},
		},
		{
			name:    "links in a mapped directory are kept as links",
			project: []string{"www/a=a", "www/b->a", "www/up->../other", "www/gone->nothing", "www/self->self", "other=o"},
			maps:    []string{"www=/srv"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 srv", "-rw-r--r-- 0:0 1700000000 srv/a=a", "link srv/b -> a",
				"link srv/gone -> nothing", "link srv/self -> self", "link srv/up -> ../other",
			},
		},
		{
			name:    "a link takes the place of a link",
			project: []string{"rootfs/lib->usr/lib"},
			image:   []string{"lib->usr/lib", "usr/lib/"},
			maps:    []string{"rootfs=/"},
			want:    []string{"link lib -> usr/lib", "drwx------ 7:7 5 usr", "drwx------ 7:7 5 usr/lib"},
		},
		{
			name:    "a source that is a link is followed",
			project: []string{"libx.so->libx.so.1", "libx.so.1->build/libx.so.1.2", "build/libx.so.1.2=x", "dist->build"},
			maps:    []string{"libx.so=/usr/lib/", "dist/=/opt"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 opt", "-rw-r--r-- 0:0 1700000000 opt/libx.so.1.2=x",
				"drwxr-xr-x 0:0 1700000000 usr", "drwxr-xr-x 0:0 1700000000 usr/lib", "-rwxr-xr-x 0:0 1700000000 usr/lib/libx.so=x",
			},
		},
		{
			name:    "two directories into one",
			project: []string{"one/a=1", "two/b=2", "one/s/x=x", "two/s/y=y"},
			maps:    []string{"one=/srv", "two=/srv"},
			want: []string{
				"drwxr-xr-x 0:0 1700000000 srv", "-rw-r--r-- 0:0 1700000000 srv/a=1", "-rw-r--r-- 0:0 1700000000 srv/b=2",
				"drwxr-xr-x 0:0 1700000000 srv/s", "-rw-r--r-- 0:0 1700000000 srv/s/x=x", "-rw-r--r-- 0:0 1700000000 srv/s/y=y",
			},
		},
		{
			name:    "names with dots are names",
			project: []string{"a..b=1", "..c=2"},
			maps:    []string{"a..b=/a..b", "..c=/..c"},
			want:    []string{"-rw-r--r-- 0:0 1700000000 ..c=2", "-rw-r--r-- 0:0 1700000000 a..b=1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := project(t, tt.project...)
			ms := maps(tt.maps...)
			for _, order := range []string{"as written", "reversed"} {
				tr := image(t, tt.image...)
				if _, err := Apply(t.Context(), tr, root, ms, Options{ModTime: when}); err != nil {
					t.Fatalf("%s: %v", order, err)
				}
				if diff := cmp.Diff(tt.want, list(t, tr)); diff != "" {
					t.Errorf("%s: tree (-want +got):\n%s", order, diff)
				}
				slices.Reverse(ms)
			}
		})
	}
}

func TestOneNameOfAHardLinkIsReplaced(t *testing.T) {
	tr := image(t, "a=old")
	old, err := tr.Lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("b", old); err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), tr, project(t, "f=new"), maps("f=/a"), Options{ModTime: when}); err != nil {
		t.Fatal(err)
	}
	want := []string{"-rw-r--r-- 0:0 1700000000 a=new", "-rw-r----- 7:7 5 b=old"}
	if diff := cmp.Diff(want, list(t, tr)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		name    string
		project []string
		image   []string
		maps    []string
		want    []string // all in the error
	}{
		{"a missing source", nil, nil, []string{"nothing=/a"}, []string{`"nothing"`, "does not exist", "fledge.toml"}},
		{"an empty source", nil, nil, []string{"=/a"}, []string{"is empty"}},
		{"an absolute source", nil, nil, []string{"/etc/passwd=/a"}, []string{`"/etc/passwd"`, "absolute"}},
		{"a source outside", nil, nil, []string{"../x=/a"}, []string{`"../x"`, "out of the project"}},
		{"the folder above", nil, nil, []string{"..=/a"}, []string{`".."`, "out of the project"}},
		{"a source outside in disguise", nil, nil, []string{"a/../../x=/a"}, []string{"out of the project"}},
		{"a source with a NUL", nil, nil, []string{"a\x00=/a"}, []string{"NUL"}},
		{"a file with a slash", []string{"a=a"}, nil, []string{"a/=/b"}, []string{`"a/"`, "regular file"}},
		{"a source below a file", []string{"a=a"}, nil, []string{"a/b=/b"}, []string{`"a/b"`, "not a directory"}},
		{"a relative destination", []string{"a=a"}, nil, []string{"a=b"}, []string{`"b"`, "must be absolute"}},
		{"an empty destination", []string{"a=a"}, nil, []string{"a="}, []string{"must be absolute"}},
		{"a climbing destination", []string{"a=a"}, nil, []string{"a=/x/../y"}, []string{`".." is not allowed`}},
		{"a destination with a NUL", []string{"a=a"}, nil, []string{"a=/x\x00"}, []string{"NUL"}},
		{"a destination that is too long", []string{"a=a"}, nil, []string{"a=/" + strings.Repeat("x", 256)}, []string{"256 bytes"}},
		{"a source link to an absolute path", []string{"l->/etc/shadow"}, nil, []string{"l=/a"}, []string{`"l"`, `"/etc/shadow"`, "outside the project"}},
		{"a source link that climbs", []string{"d/l->../../secret"}, nil, []string{"d/l=/a"}, []string{`"d/l"`, `"../../secret"`}},
		{"a source below a link that leaves", []string{"l->/etc"}, nil, []string{"l/shadow=/a"}, []string{`"l"`, `"/etc"`}},
		{"a source link in a circle", []string{"l->m", "m->l"}, nil, []string{"l=/a"}, []string{"too many levels"}},
		{"a source link to nothing", []string{"l->gone"}, nil, []string{"l=/a"}, []string{`"l"`, "does not exist"}},
		{"an inner link to an absolute path", []string{"web/leak->/etc/shadow"}, nil, []string{"web=/srv"}, []string{`"web/leak"`, `"/etc/shadow"`}},
		{"an inner link that climbs", []string{"web/leak->../../x"}, nil, []string{"web=/srv"}, []string{`"web/leak"`, `"../../x"`}},
		{"an inner link that climbs through nothing", []string{"web/leak->gone/../../../x"}, nil, []string{"web=/srv"}, []string{`"web/leak"`}},
		{"an inner link through another that leaves", []string{"web/a->../hop/x", "hop->/etc"}, nil, []string{"web=/srv"}, []string{`"hop"`, `"/etc"`}},
		{"a directory onto a file", []string{"d/a=a"}, []string{"srv=s"}, []string{"d=/srv"}, []string{`"d"`, "regular file", `"/srv"`}},
		{"a directory onto a link to a file", []string{"d/a=a"}, []string{"srv->f", "f=f"}, []string{"d=/srv"}, []string{`"d"`, "regular file", `"/f"`}},
		{"a directory onto a link in a circle", []string{"d/a=a"}, []string{"srv->srv"}, []string{"d=/srv"}, []string{"too many levels"}},
		{"a directory inside onto a file", []string{"d/s/a=a"}, []string{"srv/s=s"}, []string{"d=/srv"}, []string{`"d/s"`, `"/srv/s"`}},
		{"a file inside onto a directory", []string{"d/s=s"}, []string{"srv/s/"}, []string{"d=/srv"}, []string{`"d/s"`, "directory", `"/srv/s"`}},
		{"a file inside onto a link to a directory", []string{"d/lib=s"}, []string{"lib->usr/lib", "usr/lib/"}, []string{"d=/"}, []string{`"d/lib"`, "directory", `"/lib"`}},
		{"a link onto a directory", []string{"d/s->x"}, []string{"srv/s/"}, []string{"d=/srv"}, []string{`"d/s"`, "directory", `"/srv/s"`}},
		{"a file into a directory that has one of its name", []string{"s=s"}, []string{"srv/s/"}, []string{"s=/srv/"}, []string{`"s"`, "directory", `"/srv/s"`}},
		{"a file into what is no directory", []string{"s=s"}, []string{"srv=f"}, []string{"s=/srv/"}, []string{"ends in a slash", `"/srv"`}},
		{"a file below a file", []string{"s=s"}, []string{"srv=f"}, []string{"s=/srv/x"}, []string{`"/srv/x"`, "not a directory"}},
		{"two sources for a name", []string{"a=a", "b=b"}, nil, []string{"a=/x", "b=/x"}, []string{`"a" and "b"`, `"/x"`}},
		{"one source twice for a name", []string{"a=a"}, nil, []string{"a=/x", "./a=/x"}, []string{`"a" and "a"`}},
		{"two sources for a name by way of a link", []string{"a=a", "b=b"}, []string{"bin->usr/bin", "usr/bin/"}, []string{"a=/bin/x", "b=/usr/bin/x"}, []string{`"a" and "b"`, `"/usr/bin/x"`}},
		{"two sources for a name by way of a directory", []string{"a=a", "d/a=b"}, nil, []string{"a=/x/", "d=/x"}, []string{`"a" and "d/a"`, `"/x/a"`}},
		{"two directories with one file", []string{"d/s/a=a", "e/a=b"}, nil, []string{"d=/x", "e=/x/s"}, []string{`"d/s/a" and "e/a"`, `"/x/s/a"`}},
		{"a file where another needs a directory", []string{"a=a", "b=b"}, nil, []string{"a=/x", "b=/x/y/z"}, []string{`"a" and "b"`, `"/x"`, "directory"}},
		{"a file where another is a directory", []string{"a=a", "d/b=b"}, nil, []string{"a=/x", "d=/x"}, []string{`"a" and "d"`, `"/x"`, "directory"}},
		{"a link where another needs a directory", []string{"d/l->b", "d/b/", "f=f"}, nil, []string{"d=/x", "f=/x/l/f"}, []string{`"d/l" and "f"`, `"/x/l"`}},
		{"a way through a link that is replaced", []string{"d/l->b", "f=f"}, []string{"x/l->y", "x/y/"}, []string{"d=/x", "f=/x/l/f"}, []string{`"f"`, `"/x/l/f"`, `"/x/y/f"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := project(t, tt.project...)
			ms := maps(tt.maps...)
			var first string
			for _, order := range []string{"as written", "reversed"} {
				tr := image(t, tt.image...)
				before := list(t, tr)
				_, err := Apply(t.Context(), tr, root, ms, Options{})
				if err == nil {
					t.Fatalf("%s: no error, tree is\n%s", order, strings.Join(list(t, tr), "\n"))
				}
				for _, want := range tt.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: error %q does not say %s", order, err, want)
					}
				}
				if first == "" {
					first = err.Error()
				}
				if err.Error() != first {
					t.Errorf("error depends on the order:\n%s\n%s", first, err)
				}
				if diff := cmp.Diff(before, list(t, tr)); diff != "" && tt.name != "a way through a link that is replaced" {
					t.Errorf("%s: tree was changed (-before +after):\n%s", order, diff)
				}
				slices.Reverse(ms)
			}
		})
	}
}

func TestPermissionsFollowTheTable(t *testing.T) {
	tests := []struct {
		dest string
		want fs.FileMode
	}{
		{"/bin/x", 0o755},
		{"/usr/bin/x", 0o755},
		{"/usr/bin/deep/er/x", 0o755},
		{"/usr/local/bin/x", 0o755},
		{"/lib/x.so", 0o755},
		{"/lib/modules/x", 0o755},
		{"/usr/lib/x", 0o755},
		{"/tools/x", 0o755}, // a link to usr/bin
		{"/odd/bin/x", 0o644},
		{"/sbin/x", 0o644},
		{"/usr/sbin/x", 0o644},
		{"/usr/local/sbin/x", 0o644},
		{"/usr/local/lib/x", 0o644},
		{"/lib64/x", 0o644},
		{"/binary/x", 0o644},
		{"/opt/x", 0o644},
		{"/x", 0o644},
	}
	root := project(t, "x=x")
	for _, m := range []fs.FileMode{0o400, 0o777} {
		if err := root.Chmod("x", m); err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			tr := image(t, "tools->usr/bin", "usr/bin/")
			r, err := Apply(t.Context(), tr, root, []Mapping{{"x", tt.dest}}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			n, err := tr.Lookup(r.Files[0].Dest)
			if err != nil {
				t.Fatal(err)
			}
			if n.Mode != tt.want || r.Files[0].Mode != tt.want {
				t.Errorf("%s from a host file of mode %v: mode %v, reported %v, want %v", tt.dest, m, n.Mode, r.Files[0].Mode, tt.want)
			}
		}
	}
	// The destination as written counts where it leads elsewhere.
	tr := image(t, "bin->/opt/tools")
	if _, err := Apply(t.Context(), tr, root, maps("x=/bin/x"), Options{}); err != nil {
		t.Fatal(err)
	}
	if n, err := tr.Lookup("opt/tools/x"); err != nil || n.Mode != 0o755 {
		t.Errorf("opt/tools/x = %v, %v, want mode 0755", n, err)
	}
}

func TestSpecialFilesAreNamedAndNeverOpened(t *testing.T) {
	for _, inside := range []bool{false, true} {
		root := project(t, "d/a=a")
		dir := root.Name()
		fifo, sock := filepath.Join(dir, "d/fifo"), filepath.Join(dir, "d/sock")
		if err := syscall.Mkfifo(fifo, 0o666); err != nil {
			t.Fatal(err)
		}
		source := "d/fifo"
		if inside {
			source = "d"
		}
		want := []string{`"d/fifo"`, "named pipe"}
		check := func() {
			t.Helper()
			done := make(chan error, 1)
			go func() {
				_, err := Apply(t.Context(), tree.New(), root, []Mapping{{source, "/x"}}, Options{})
				done <- err
			}()
			select {
			case err := <-done:
				for _, w := range want {
					if err == nil || !strings.Contains(err.Error(), w) {
						t.Errorf("error = %v, want one that says %s", err, w)
					}
				}
				if !errors.Is(err, hostfile.ErrNotRegular) {
					t.Errorf("error %v is not ErrNotRegular", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("mapping a named pipe hangs")
			}
		}
		check()
		if err := os.Remove(fifo); err != nil {
			t.Fatal(err)
		}
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", sock)
		if err != nil {
			t.Fatal(err)
		}
		if source == "d/fifo" {
			source = "d/sock"
		}
		want = []string{`"d/sock"`, "socket"}
		check()
		l.Close()
	}
}

func TestDevicesAreRefused(t *testing.T) {
	root := project(t, "d/a=a")
	if err := syscall.Mknod(filepath.Join(root.Name(), "d/null"), syscall.S_IFCHR|0o666, 1<<8|3); err != nil {
		testneed.Missing(t, "root", fmt.Sprintf("device nodes cannot be made here: %v", err))
	}
	_, err := Apply(t.Context(), tree.New(), root, maps("d=/x"), Options{})
	if err == nil || !strings.Contains(err.Error(), `"d/null"`) || !strings.Contains(err.Error(), "character device") {
		t.Errorf("error = %v, want one that names d/null as a character device", err)
	}
}

func TestNamesAreBytes(t *testing.T) {
	long := strings.Repeat("n", 255)
	odd := "caf\xe9\n\xff"
	root := project(t, "d/"+long+"=l", "d/"+odd+"=o", "d/l->"+odd)
	tr := tree.New()
	r, err := Apply(t.Context(), tr, root, maps("d=/x"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{long: "l", odd: "o"} {
		n, err := tr.Lookup("x/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, n); got != want {
			t.Errorf("content of %q = %q, want %q", name, got, want)
		}
	}
	if n, err := tr.Lookup("x/l"); err != nil || n.Target != odd {
		t.Errorf("x/l = %v, %v, want a link to %q", n, err, odd)
	}
	if len(r.Warnings) != 0 {
		t.Errorf("warnings %v, want none", r.Warnings)
	}
}

func TestLimits(t *testing.T) {
	// 7 names: d, a, b, s, c, s/t, e. 3 directories deep. 6 bytes.
	root := project(t, "d/a=12", "d/b->a", "d/s/c=345", "d/s/t/e=6")
	tests := []struct {
		name   string
		at     Limits
		past   Limits
		saying string
	}{
		{"entries", Limits{Entries: 7}, Limits{Entries: 6}, "more than 6 names"},
		{"depth", Limits{Depth: 3}, Limits{Depth: 2}, `"d/s/t": deeper than 2 directories`},
		{"bytes", Limits{Bytes: 6}, Limits{Bytes: 5}, "more than 5 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Apply(t.Context(), tree.New(), root, maps("d=/x"), Options{Limits: tt.at}); err != nil {
				t.Errorf("at the limit: %v", err)
			}
			_, err := Apply(t.Context(), tree.New(), root, maps("d=/x"), Options{Limits: tt.past})
			if err == nil || !strings.Contains(err.Error(), tt.saying) {
				t.Errorf("past the limit: error %v, want %q", err, tt.saying)
			}
		})
	}
}

func TestALongDestinationIsRefusedAtItsBound(t *testing.T) {
	// 15 components of 255 bytes and slashes make 3840 bytes; 254 + 1 remain.
	deep := "/" + strings.Repeat(strings.Repeat("d", 255)+"/", 15)
	root := project(t, "d/"+strings.Repeat("f", 255)+"=x")
	if _, err := Apply(t.Context(), tree.New(), root, []Mapping{{"d", deep}}, Options{}); err != nil {
		t.Errorf("4095 bytes: %v", err)
	}
	root = project(t, "d/s/"+strings.Repeat("f", 254)+"=x")
	_, err := Apply(t.Context(), tree.New(), root, []Mapping{{"d", deep}}, Options{})
	if !errors.Is(err, tree.ErrName) {
		t.Errorf("4096 bytes: error %v, want ErrName", err)
	}
}

func TestSkipLeavesTheBuildsOwnFilesOut(t *testing.T) {
	root := project(t, "a=a", "out/plugin.img=big", "out/.plugin.img.fledge-01=tmp", "out/b=b", "plugin.img=another")
	tr := tree.New()
	r, err := Apply(t.Context(), tr, root, maps(".=/app"), Options{Skip: []string{"out/plugin.img"}, SkipPrefixes: []string{"out/.plugin.img.fledge-"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Files {
		got = append(got, f.Source)
	}
	if diff := cmp.Diff([]string{"a", "out/b", "plugin.img"}, got); diff != "" {
		t.Errorf("mapped files (-want +got):\n%s", diff)
	}
}

func TestCancelEndsApply(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, pair := range []string{"a=/a", "d=/d"} {
		_, err := Apply(ctx, tree.New(), project(t, "a=a", "d/b=b"), maps(pair), Options{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", pair, err)
		}
	}
}

// cancelSink cancels the build while a file is being read.
type cancelSink struct{ cancel context.CancelFunc }

func (s cancelSink) Store(_ int64, r io.Reader) (tree.Content, error) {
	s.cancel()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	return nil, errors.New("the read went on")
}

func TestCancelEndsTheReadOfAFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tr := tree.New()
	_, err := Apply(ctx, tr, project(t, "a=a"), maps("a=/a"), Options{Sink: cancelSink{cancel}})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("error %v, want context.Canceled while reading a", err)
	}
	if _, err := tr.Lookup("a"); err == nil {
		t.Error("the file is in the tree")
	}
}

func TestTheFirstBadNameIsReportedWhateverTheHostsOrder(t *testing.T) {
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprintf("d/l%02d->/etc/%d", i, i))
	}
	for range 2 {
		_, err := Apply(t.Context(), tree.New(), project(t, names...), maps("d=/d"), Options{})
		if err == nil || !strings.Contains(err.Error(), `"d/l00"`) {
			t.Errorf("error %v, want one that names d/l00", err)
		}
		slices.Reverse(names)
	}
}

func TestContentsThatChangeAfterwardsAreErrors(t *testing.T) {
	tests := []struct {
		name   string
		change func(file string) error
	}{
		{"shorter", func(f string) error { return os.Truncate(f, 2) }},
		{"longer", func(f string) error { return os.Truncate(f, 20) }},
		{"gone", os.Remove},
		{"another file", func(f string) error {
			if err := os.WriteFile(f+"2", []byte("other"), 0o644); err != nil {
				return err
			}
			return os.Rename(f+"2", f)
		}},
		{"another file of the same bytes and time", func(f string) error {
			info, err := os.Stat(f)
			if err != nil {
				return err
			}
			if err := os.WriteFile(f+"2", []byte("hello"), 0o644); err != nil {
				return err
			}
			if err := os.Chtimes(f+"2", info.ModTime(), info.ModTime()); err != nil {
				return err
			}
			return os.Rename(f+"2", f)
		}},
		{"a link that leaves", func(f string) error {
			os.Remove(f)
			return os.Symlink("/etc/passwd", f)
		}},
		{"a named pipe", func(f string) error {
			os.Remove(f)
			return syscall.Mkfifo(f, 0o666)
		}},
		{"other bytes, same size and time", func(f string) error {
			info, err := os.Stat(f)
			if err != nil {
				return err
			}
			if err := os.WriteFile(f, []byte("HELLO"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(f, info.ModTime(), info.ModTime())
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := project(t, "d/a=hello")
			tr := tree.New()
			if _, err := Apply(t.Context(), tr, root, maps("d/a=/a"), Options{}); err != nil {
				t.Fatal(err)
			}
			n, err := tr.Lookup("a")
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(filepath.Join(root.Name(), "d/a")); err != nil {
				t.Fatal(err)
			}
			r, err := n.Content.Open()
			if err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), `"d/a"`) {
				t.Errorf("error %v, want one that names d/a", err)
			}
		})
	}
}

// A memorySink keeps what it is given.
type memorySink struct{ stored [][]byte }

func (s *memorySink) Store(size int64, r io.Reader) (tree.Content, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != size {
		return nil, fmt.Errorf("got %d bytes, want %d", len(b), size)
	}
	s.stored = append(s.stored, b)
	return text(b), nil
}

func TestASinkGetsEveryByteOnce(t *testing.T) {
	big := strings.Repeat("0123456789", 100_000)
	root := project(t, "d/a=1", "d/b="+big, "d/c=")
	tr, sink := tree.New(), &memorySink{}
	r, err := Apply(t.Context(), tr, root, maps("d=/d"), Options{Sink: sink})
	if err != nil {
		t.Fatal(err)
	}
	if len(sink.stored) != 3 {
		t.Errorf("the sink got %d files, want 3", len(sink.stored))
	}
	// Contents no longer need the project.
	if err := os.RemoveAll(root.Name()); err != nil {
		t.Fatal(err)
	}
	if n, _ := tr.Lookup("d/b"); read(t, n) != big {
		t.Error("content of d/b differs")
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(big))); r.Files[1].Digest != want {
		t.Errorf("digest %s, want %s", r.Files[1].Digest, want)
	}
	plain, err := Apply(t.Context(), tree.New(), project(t, "d/a=1", "d/b="+big, "d/c="), maps("d=/d"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, r); diff != "" {
		t.Errorf("report without a sink and with one (-without +with):\n%s", diff)
	}
}

// lazySink reads nothing; brokenSink fails.
type lazySink struct{}

func (lazySink) Store(int64, io.Reader) (tree.Content, error) { return text("x"), nil }

type brokenSink struct{}

func (brokenSink) Store(int64, io.Reader) (tree.Content, error) { return nil, io.ErrShortWrite }

func TestSinkErrors(t *testing.T) {
	root := project(t, "a=hello")
	if _, err := Apply(t.Context(), tree.New(), root, maps("a=/a"), Options{Sink: brokenSink{}}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error %v, want the sink's", err)
	}
	r, err := Apply(t.Context(), tree.New(), root, maps("a=/a"), Options{Sink: lazySink{}})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("hello"))); r.Files[0].Digest != want {
		t.Errorf("digest %s behind a sink that stops early, want that of the whole file %s", r.Files[0].Digest, want)
	}
}

func TestReportAndDigest(t *testing.T) {
	root := project(t, "html/b=bb", "html/a->b", "html/e/", "app=x y")
	r, err := Apply(t.Context(), image(t, "bin->usr/bin", "usr/bin/"), root, maps("html=/srv", "app=/bin/my app"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	bb, xy := fmt.Sprintf("%x", sha256.Sum256([]byte("bb"))), fmt.Sprintf("%x", sha256.Sum256([]byte("x y")))
	want := Report{
		Files: []File{
			{Source: "html/a", Dest: "srv/a", Mode: fs.ModeSymlink | 0o777, Target: "b"},
			{Source: "html/b", Dest: "srv/b", Mode: 0o644, Size: 2, Digest: "sha256:" + bb},
			{Source: "app", Dest: "usr/bin/my app", Mode: 0o755, Size: 3, Digest: "sha256:" + xy},
		},
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("fledge mappings 1\n"+
			"d 0755 3:srv\n"+"l 1:b 5:srv/a\n"+"f 0644 2 "+bb+" 5:srv/b\n"+"d 0755 5:srv/e\n"+
			"f 0755 3 "+xy+" 14:usr/bin/my app\n"))),
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestDigestChangesWithWhatIsMapped(t *testing.T) {
	seen := map[string]string{}
	for _, c := range []struct {
		name  string
		files []string
		maps  []string
	}{
		{"base", []string{"d/a=1", "d/l->a"}, []string{"d=/x"}},
		{"content", []string{"d/a=2", "d/l->a"}, []string{"d=/x"}},
		{"target", []string{"d/a=1", "d/l->b"}, []string{"d=/x"}},
		{"name", []string{"d/b=1", "d/l->a"}, []string{"d=/x"}},
		{"destination", []string{"d/a=1", "d/l->a"}, []string{"d=/y"}},
		{"mode", []string{"d/a=1", "d/l->a"}, []string{"d=/bin"}},
		{"an empty directory", []string{"d/a=1", "d/l->a", "d/e/"}, []string{"d=/x"}},
		{"nothing", nil, nil},
	} {
		r, err := Apply(t.Context(), tree.New(), project(t, c.files...), maps(c.maps...), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[r.Digest]; ok {
			t.Errorf("%q has the digest of %q", c.name, other)
		}
		seen[r.Digest] = c.name
	}
}

func TestHostMetadataDoesNotReachTheResult(t *testing.T) {
	lines := []string{"d/a=1", "d/b=2", "d/s/c=3"}
	one := project(t, lines...)
	slices.Reverse(lines) // another order of creation
	two := project(t, lines...)
	for _, name := range []string{"d/a", "d/s/c", "d/s", "d"} {
		if err := two.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := two.Chtimes(name, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 {
			if err := two.Lchown(name, 1234, 1234); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b := tree.New(), tree.New()
	ra, err := Apply(t.Context(), a, one, maps("d=/x"), Options{ModTime: when})
	if err != nil {
		t.Fatal(err)
	}
	rb, err := Apply(t.Context(), b, two, maps("d=/x"), Options{ModTime: when})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ra, rb); diff != "" {
		t.Errorf("reports (-one +two):\n%s", diff)
	}
	if diff := cmp.Diff(list(t, a), list(t, b)); diff != "" {
		t.Errorf("trees (-one +two):\n%s", diff)
	}
}

func TestWarnings(t *testing.T) {
	key := "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n"
	cert := "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	tests := []struct {
		name    string
		project []string
		image   []string
		maps    []string
		want    []string // "KIND DEST"
	}{
		{"an environment file", []string{".env=A=1"}, nil, []string{".env=/etc/worker/.env"}, []string{"secret /etc/worker/.env"}},
		{"one by its destination", []string{"prod=A=1"}, nil, []string{"prod=/app/.env"}, []string{"secret /app/.env"}},
		{"one behind a link", []string{"cfg->.env", ".env=A"}, nil, []string{"cfg=/app/cfg"}, []string{"secret /app/cfg"}},
		{"variants of it", []string{"d/.env.production=A", "d/.env.example=A", "d/.environment=A"}, nil, []string{"d=/d"}, []string{"secret /d/.env.production"}},
		{
			"keys by name",
			[]string{"d/id_rsa=x", "d/id_rsa.pub=x", "d/a.kdbx=x", "d/.npmrc=x", "d/.netrc=x", "d/Store.JKS=x"},
			nil,
			[]string{"d=/d"},
			[]string{"secret /d/.netrc", "secret /d/.npmrc", "secret /d/Store.JKS", "secret /d/a.kdbx", "secret /d/id_rsa"},
		},
		{
			"credentials by path",
			[]string{".aws/credentials=x", ".docker/config.json=x", "x/config.json=x", ".config/gh/hosts.yml=x"},
			nil,
			[]string{".=/d"},
			[]string{"secret /d/.aws/credentials", "secret /d/.config/gh/hosts.yml", "secret /d/.docker/config.json"},
		},
		{
			"a key by content",
			[]string{"d/deploy=" + key, "d/cert=" + cert, "d/both=" + cert + key, "d/talk=say -----BEGIN PRIVATE KEY----- aloud"},
			nil,
			[]string{"d=/d"},
			[]string{"secret /d/both", "secret /d/deploy"},
		},
		{"pem files", []string{"d/ca.pem=" + cert, "d/key.pem=" + key, "d/odd.pem=binary"}, nil, []string{"d=/d"}, []string{"secret /d/key.pem", "secret /d/odd.pem"}},
		{"a repository", []string{"app/.git/config=x", "app/.git/HEAD=x"}, nil, []string{"app=/d"}, []string{"secret /d/.git"}},
		{"programs that cannot be run, once a mapping", []string{"s/a=#!/bin/sh\n", "s/b=\x7fELF", "s/c=text", "s/d=# !"}, nil, []string{"s=/opt", "s/a=/bin/a"}, []string{"not-executable /opt/a"}},
		{"a link gives way", []string{"resolv.conf=x"}, []string{"etc/resolv.conf->../run/x"}, []string{"resolv.conf=/etc/resolv.conf"}, []string{"replaced-link /etc/resolv.conf"}},
		{
			"links that lead nowhere",
			[]string{"d/a->b", "d/b->gone", "d/ok->f", "d/f=f", "d/s->s", "d/through->f/x"},
			nil,
			[]string{"d=/d"},
			[]string{"dangling-link /d/a", "dangling-link /d/b", "dangling-link /d/s", "dangling-link /d/through"},
		},
		{"mounted over", []string{"d/a=a", "d/b=b"}, nil, []string{"d=/run/app", "d/a=/tmpfile"}, []string{"hidden /run/app/a"}},
		{"nothing to say", []string{"app=\x7fELF", "html/a=<p>"}, nil, []string{"app=/usr/bin/app", "html=/srv"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Apply(t.Context(), image(t, tt.image...), project(t, tt.project...), maps(tt.maps...), Options{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range r.Warnings {
				got = append(got, string(w.Kind)+" "+w.Dest)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRepeatedWarningsAreCounted(t *testing.T) {
	r, err := Apply(t.Context(), tree.New(), project(t, "s/a=#!/bin/sh", "s/b=#!/bin/sh", "s/c=#!/bin/sh"), maps("s=/opt"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0].String(), `"s/a" to "/opt/a"`) || !strings.Contains(r.Warnings[0].Text, "2 more") {
		t.Errorf("warnings = %v, want one that counts 2 more", r.Warnings)
	}
}

func TestWarningsAreCapped(t *testing.T) {
	for _, n := range []int{MaxWarnings, MaxWarnings + 1} {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("d/%03d.key.kdbx=x", i))
		}
		r, err := Apply(t.Context(), tree.New(), project(t, lines...), maps("d=/d"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Warnings) != MaxWarnings {
			t.Errorf("%d warnings for %d files, want %d", len(r.Warnings), n, MaxWarnings)
		}
		says := strings.Contains(r.Warnings[MaxWarnings-1].Text, "1 more warnings")
		if says != (n > MaxWarnings) {
			t.Errorf("for %d files the last warning is %q", n, r.Warnings[MaxWarnings-1].Text)
		}
	}
}

func TestReplacedContentsAreReported(t *testing.T) {
	tr := image(t, "gone=1", "kept=2", "link->gone")
	kept, err := tr.Lookup("kept")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("other", kept); err != nil {
		t.Fatal(err)
	}
	r, err := Apply(t.Context(), tr, project(t, "f=new"), maps("f=/gone", "./f=/kept", "././f=/link", "./././f=/fresh"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]tree.Content{text("1")}, r.Replaced); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
}

func TestApplyNeverWritesToTheProject(t *testing.T) {
	root := project(t, "d/a=1", "d/l->a")
	before, err := fs.Glob(root.FS(), "*/*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), image(t, "d->"+root.Name()), root, maps("d=/d/d"), Options{}); err != nil {
		t.Fatal(err)
	}
	after, err := fs.Glob(root.FS(), "*/*")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before, after) {
		t.Errorf("project folder had %q, now %q", before, after)
	}
	if b, err := root.ReadFile("d/a"); err != nil || !bytes.Equal(b, []byte("1")) {
		t.Errorf("d/a = %q, %v", b, err)
	}
}

func TestProgramsAreExecutableWhereverTheyAre(t *testing.T) {
	tr := image(t, "data/opt/", "opt->data/opt")
	root := project(t, "my-init=x", "other=y")
	_, err := Apply(t.Context(), tr, root, maps("my-init=/init", "my-init=/opt/start", "other=/opt/other"), Options{
		ModTime: time.Unix(1_700_000_000, 0), Programs: []string{"init", "opt/start"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]fs.FileMode{}
	for name, n := range tr.Walk() {
		if n.Mode.IsRegular() {
			got[name] = n.Mode
		}
	}
	want := map[string]fs.FileMode{"init": 0o755, "data/opt/start": 0o755, "data/opt/other": 0o644}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
