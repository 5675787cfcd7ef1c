package guest

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// fakeBusybox is an ELF file for amd64 with a table of applets.
func fakeBusybox(names ...string) []byte {
	return append(makeELF(elfSpec{}), "\x00"+table(names...)...)
}

var usual = fakeBusybox("[", "[[", "ash", "cat", "ls", "ping", "sh")

func root(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestBusyboxFromEveryKindOfPlace(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/busybox":
			w.Write(usual)
		case "/other":
			w.Write(fakeBusybox("cat", "ls", "sh"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	project := root(t, map[string]string{"tools/busybox": string(usual), "other": "no busybox"})
	abs := filepath.Join(project.Name(), "tools/busybox")
	good := sum(usual)
	for _, tt := range []struct {
		name    string
		request BusyboxRequest
		wantErr string // "" for success
	}{
		{"a URL", BusyboxRequest{URL: server.URL + "/busybox", SHA256: good}, ""},
		{"a sum with a prefix, in capitals", BusyboxRequest{URL: server.URL + "/busybox", SHA256: "sha256:" + strings.ToUpper(good)}, ""},
		{"a path", BusyboxRequest{URL: "tools/busybox", SHA256: good}, ""},
		{"an absolute path", BusyboxRequest{URL: abs, SHA256: good}, ""},
		{"a file URL", BusyboxRequest{URL: "file://" + abs, SHA256: good}, ""},
		{"a mirror, for a place that is gone", BusyboxRequest{URL: server.URL + "/gone", Mirrors: []string{server.URL + "/busybox"}, SHA256: good}, ""},
		{"a mirror, for other bytes", BusyboxRequest{URL: server.URL + "/other", Mirrors: []string{"none", "tools/busybox"}, SHA256: good}, ""},
		{"a mirror of the pinned one must be the pinned one", BusyboxRequest{URL: "other", Mirrors: []string{"tools/busybox"}, SHA256: PinnedBusyboxSHA256}, "busybox_sha256 is 6e123e7f"},
		{"no sum, URL", BusyboxRequest{URL: server.URL + "/busybox"}, `busybox_sha256 = "` + good + `"`},
		{"no sum, path", BusyboxRequest{URL: "tools/busybox"}, `busybox_sha256 = "` + good + `"`},
		{"wrong sum", BusyboxRequest{URL: "tools/busybox", SHA256: sum(nil)}, "the file has " + good},
		{"wrong sum of a URL", BusyboxRequest{URL: server.URL + "/busybox", SHA256: sum(nil)}, good},
		{"not there", BusyboxRequest{URL: "none", SHA256: good}, `"none"`},
		{"out of the project", BusyboxRequest{URL: "../busybox", SHA256: good}, "out of the project folder"},
		{"a file URL with a host", BusyboxRequest{URL: "file://host/busybox", SHA256: good}, "three slashes"},
		{"a folder", BusyboxRequest{URL: "tools", SHA256: good}, "not a regular file"},
		{"no program", BusyboxRequest{URL: "other", SHA256: sum([]byte("no busybox"))}, "no ELF executable"},
		{"for another machine", BusyboxRequest{URL: "tools/busybox", SHA256: good, Arch: "arm64"}, "the platform is arm64"},
		{"the pinned one for another machine", BusyboxRequest{Arch: "arm64"}, "set busybox_url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := tt.request
			r.Root, r.Fetch = project, client(t)
			if r.Arch == "" {
				r.Arch = "amd64"
			}
			b, err := ResolveBusybox(t.Context(), r)
			switch {
			case tt.wantErr == "" && (err != nil || string(b.Content) != string(usual) || b.Digest != "sha256:"+good || len(b.applets) != 7):
				t.Errorf("got %d bytes, %d applets, %s; %v", len(b.Content), len(b.applets), b.Digest, err)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("error %v, want one with %q", err, tt.wantErr)
			case tt.wantErr != "" && strings.HasPrefix(tt.wantErr, "busybox_sha256 = ") != errors.Is(err, ErrUnpinned):
				t.Errorf("error %v is ErrUnpinned: %v", err, errors.Is(err, ErrUnpinned))
			}
			if skipped := len(r.Mirrors); err == nil && len(b.Warnings) != skipped {
				t.Errorf("%d places were passed over, warnings: %q", skipped, b.Warnings)
			}
		})
	}
}

func TestBusyboxHasALimit(t *testing.T) {
	project := root(t, map[string]string{"big": string(usual) + strings.Repeat("\x00", MaxBusybox+1-len(usual)), "full": string(usual) + strings.Repeat("\x00", MaxBusybox-len(usual))})
	for name, ok := range map[string]bool{"full": true, "big": false} {
		b, err := project.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ResolveBusybox(t.Context(), BusyboxRequest{URL: name, SHA256: sum(b), Arch: "amd64", Root: project})
		if (err == nil) != ok || !ok && !strings.Contains(err.Error(), "the limit is 16777216") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACancelledBusyboxTriesNoMirror(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := ResolveBusybox(ctx, BusyboxRequest{
		URL: "https://127.0.0.1:1/x", Mirrors: []string{"tools/busybox"}, SHA256: sum(usual), Arch: "amd64",
		Root: root(t, map[string]string{"tools/busybox": string(usual)}), Fetch: client(t),
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

var epoch = time.Unix(1_000_000_000, 0)

func installed(t *testing.T, tr *tree.Tree) *Links {
	t.Helper()
	b, err := ResolveBusybox(t.Context(), BusyboxRequest{URL: "b", SHA256: sum(usual), Arch: "amd64", Root: root(t, map[string]string{"b": string(usual)})})
	if err != nil {
		t.Fatal(err)
	}
	links, err := InstallBusybox(tr, b, epoch)
	if err != nil {
		t.Fatal(err)
	}
	return links
}

// listed lists a tree, links with their targets.
func listed(tr *tree.Tree) string {
	var all []string
	for name, n := range tr.Walk() {
		switch {
		case n.Mode&fs.ModeSymlink != 0:
			all = append(all, name+"->"+n.Target)
		case !n.Mode.IsDir():
			all = append(all, name)
		}
	}
	return strings.Join(all, " ")
}

func put(t *testing.T, tr *tree.Tree, name string, n *tree.Node) {
	t.Helper()
	if i := strings.LastIndexByte(name, '/'); i > 0 {
		if err := tr.MkdirAll(name[:i], tree.Node{Mode: fs.ModeDir | 0o755}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Put(name, n); err != nil {
		t.Fatal(err)
	}
}

func program(text string) *tree.Node { return &tree.Node{Mode: 0o755, Content: tree.Bytes(text)} }

func linkTo(target string) *tree.Node {
	return &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: target}
}

func TestBusyboxLinksNeverTakeANameThatIsThere(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*tree.Tree)
		want    string
	}{
		{"an empty tree", func(*tree.Tree) {}, "bin/[->busybox bin/[[->busybox bin/ash->busybox bin/busybox bin/cat->busybox bin/ls->busybox bin/ping->busybox bin/sh->busybox"},
		{
			"a program of the same name", func(tr *tree.Tree) { put(t, tr, "bin/ls", program("ls")) },
			"bin/[->busybox bin/[[->busybox bin/ash->busybox bin/busybox bin/cat->busybox bin/ls bin/ping->busybox bin/sh->busybox",
		},
		{
			"a program in another folder", func(tr *tree.Tree) { put(t, tr, "usr/sbin/ping", program("ping")) },
			"bin/[->busybox bin/[[->busybox bin/ash->busybox bin/busybox bin/cat->busybox bin/ls->busybox bin/sh->busybox usr/sbin/ping",
		},
		{"a merged /usr", func(tr *tree.Tree) {
			put(t, tr, "usr/bin/sh", program("dash"))
			put(t, tr, "bin", linkTo("usr/bin"))
		}, "bin->usr/bin usr/bin/[->busybox usr/bin/[[->busybox usr/bin/ash->busybox usr/bin/busybox usr/bin/cat->busybox usr/bin/ls->busybox usr/bin/ping->busybox usr/bin/sh"},
		{"an image with a busybox of its own", func(tr *tree.Tree) {
			put(t, tr, "bin/busybox", program("theirs"))
			put(t, tr, "bin/sh", linkTo("/bin/busybox"))
		}, "bin/busybox bin/sh->/bin/busybox"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := tree.New()
			tt.prepare(tr)
			installed(t, tr)
			if got := listed(tr); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestBusyboxLinksYieldToWhatComesLater(t *testing.T) {
	tr := tree.New()
	links := installed(t, tr)
	put(t, tr, "usr/local/bin/ping", program("mine"))        // another folder
	put(t, tr, "bin/ls", program("mine"))                    // the link's own name
	put(t, tr, "usr/bin/cat", linkTo("/bin/busybox"))        // a link to busybox too
	put(t, tr, "opt/sh", program("not in a program folder")) // no rival
	if warning, err := links.Yield(); warning != "" || err != nil {
		t.Fatal(warning, err)
	}
	want := "bin/[->busybox bin/[[->busybox bin/ash->busybox bin/busybox bin/cat->busybox bin/ls bin/sh->busybox opt/sh usr/bin/cat->/bin/busybox usr/local/bin/ping"
	if got := listed(tr); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestBusyboxWithoutATableIsInstalledWithAWarning(t *testing.T) {
	bare := makeELF(elfSpec{})
	b, err := ResolveBusybox(t.Context(), BusyboxRequest{URL: "b", SHA256: sum(bare), Arch: "amd64", Root: root(t, map[string]string{"b": string(bare)})})
	if err != nil || len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "no list of applets") {
		t.Fatalf("warnings %q, %v", b.Warnings, err)
	}
	tr := tree.New()
	if _, err := InstallBusybox(tr, b, epoch); err != nil || listed(tr) != "bin/busybox" {
		t.Errorf("%s, %v", listed(tr), err)
	}
}
