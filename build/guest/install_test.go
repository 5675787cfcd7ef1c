package guest

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// image makes a tree from lines "name=content", "name->target" and "name/".
func image(t *testing.T, lines ...string) *tree.Tree {
	t.Helper()
	tr := tree.New()
	for _, line := range lines {
		name, target, isLink := strings.Cut(line, "->")
		if i := strings.LastIndexByte(name, '/'); i > 0 {
			if err := tr.MkdirAll(name[:i], tree.Node{Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		name, content, _ := strings.Cut(name, "=")
		n := &tree.Node{Mode: 0o644, Content: blob(content)}
		if isLink {
			n = &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: target}
		}
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func TestInstall(t *testing.T) {
	when := time.Unix(1700000000, 0)
	tests := []struct {
		name  string
		image []string
		want  string // path
		warn  string
		err   string
	}{
		{name: "directory", image: []string{"bin/"}, want: "bin/kestrel"},
		{name: "nothing", want: "bin/kestrel"},
		{name: "merged usr", image: []string{"bin->usr/bin", "usr/bin/"}, want: "usr/bin/kestrel"},
		{name: "absolute link stays in the tree", image: []string{"bin->/usr/bin", "usr/bin/"}, want: "usr/bin/kestrel"},
		{name: "climbing link stays in the tree", image: []string{"bin->../../usr/bin", "usr/bin/"}, want: "usr/bin/kestrel"},
		{name: "link to a link", image: []string{"bin->a/b", "a->usr", "usr/b->bin", "usr/bin/"}, want: "usr/bin/kestrel"},
		{name: "replaces a file", image: []string{"bin/kestrel=old"}, want: "bin/kestrel", warn: "regular file"},
		{name: "replaces a link, not what it leads to", image: []string{"bin/busybox=b", "bin/kestrel->busybox"}, want: "bin/kestrel", warn: "symbolic link"},
		{name: "dangling link", image: []string{"bin->usr/bin", "usr/"}, err: `"/usr/bin", which it does not have`},
		{name: "dangling absolute link", image: []string{"bin->/no/where"}, err: `"/no/where"`},
		{name: "link to a file", image: []string{"bin->etc/f", "etc/f=x"}, err: `"/etc/f" is a regular file`},
		{name: "link below a file", image: []string{"bin->etc/f/x", "etc/f=x"}, err: "not a directory"},
		{name: "link in a circle", image: []string{"bin->bin"}, err: "too many levels"},
		{name: "a file", image: []string{"bin=x"}, err: `"/bin" is a regular file, not a directory`},
		{name: "a directory of the name", image: []string{"bin/kestrel/x=x"}, err: `directory at "/bin/kestrel"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := image(t, tt.image...)
			before := names(tr)
			in, err := Install(tr, Agent{Content: blob("agent")}, when)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if after := names(tr); after != before {
					t.Errorf("the tree had %q, now %q", before, after)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			n, err := tr.Lookup(tt.want)
			if err != nil || in.Path != tt.want {
				t.Fatalf("path %q, %v, want %q", in.Path, err, tt.want)
			}
			if n.Mode != 0o755 || n.UID != 0 || n.GID != 0 || !n.ModTime.Equal(when) || string(n.Content.(blob)) != "agent" {
				t.Errorf("node %+v", n)
			}
			if got := strings.Join(in.Warnings, "; "); tt.warn == "" && got != "" || !strings.Contains(got, tt.warn) {
				t.Errorf("warnings %q, want %q", got, tt.warn)
			}
			for name, n := range tr.Walk() {
				if n.Mode&fs.ModeSymlink != 0 && !strings.Contains(before, name) {
					t.Errorf("link %q is new", name)
				}
			}
		})
	}
}

func names(tr *tree.Tree) string {
	var all []string
	for name := range tr.Walk() {
		all = append(all, name)
	}
	return strings.Join(all, " ")
}

func TestInstallReportsTheContentNobodyNeeds(t *testing.T) {
	tr := image(t, "bin/kestrel=old")
	in, err := Install(tr, Agent{Content: blob("new")}, time.Time{})
	if err != nil || in.Replaced == nil || string(in.Replaced.(blob)) != "old" {
		t.Errorf("replaced %v, %v, want old", in.Replaced, err)
	}
	tr = image(t, "bin/kestrel=old")
	n, err := tr.Lookup("bin/kestrel")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Put("other", n); err != nil {
		t.Fatal(err)
	}
	if in, err = Install(tr, Agent{Content: blob("new")}, time.Time{}); err != nil || in.Replaced != nil {
		t.Errorf("replaced %v, %v, want nothing: another name has it", in.Replaced, err)
	}
}

func TestInstallOfNoAgentDoesNothing(t *testing.T) {
	tr := image(t)
	in, err := Install(tr, Agent{}, time.Time{})
	if err != nil || in.Path != "" || names(tr) != "." {
		t.Errorf("%+v, %v, tree %q", in, err, names(tr))
	}
}

func TestCheckBootCopy(t *testing.T) {
	tests := []struct {
		name  string
		image []string
		err   string
	}{
		{name: "nothing there"},
		{name: "a part of it", image: []string{"usr/"}},
		{name: "all of it", image: []string{"usr/local/bin/x=x"}},
		{name: "an agent", image: []string{"usr/local/bin/kestrel=x", "usr/local/bin/kestrel.tmp=x"}},
		{name: "a link of the agent's name is renamed over", image: []string{"usr/local/bin/kestrel->/bin/kestrel"}},
		{name: "relative links", image: []string{"usr->system/usr", "system/usr/local->../../opt/./local", "opt/local/bin->b", "opt/local/b/"}},
		{name: "a link to the root", image: []string{"usr/local->..", "usr/bin/"}},
		{name: "an absolute link", image: []string{"usr/local->/opt/local", "opt/local/bin/"}, err: `"/usr/local" is a symbolic link to "/opt/local", and an absolute link`},
		{name: "an absolute link further on", image: []string{"usr/local/bin->../b", "usr/b->/opt"}, err: `"/usr/b" is a symbolic link to "/opt", and an absolute link`},
		{name: "a climbing link", image: []string{"usr/local->../../x", "x/"}, err: "climbs above"},
		{name: "a link to nothing", image: []string{"usr/local/bin->../gone"}, err: `"/usr/gone", which the image does not have`},
		{name: "a link to nothing in the middle", image: []string{"usr/local->gone"}, err: `"/usr/gone"`},
		{name: "a file", image: []string{"usr/local/bin=x"}, err: `regular file at "/usr/local/bin"`},
		{name: "a file in the middle", image: []string{"usr/local=x"}, err: `regular file at "/usr/local"`},
		{name: "a link to a file", image: []string{"usr/local->f", "usr/f=x"}, err: `regular file at "/usr/f"`},
		{name: "a circle", image: []string{"usr/local->local"}, err: "too many levels"},
		{name: "a directory of the agent's name", image: []string{"usr/local/bin/kestrel/"}, err: `directory at "/usr/local/bin/kestrel"`},
		{name: "a link of the temporary name", image: []string{"usr/local/bin/kestrel.tmp->/etc/passwd"}, err: `symbolic link at "/usr/local/bin/kestrel.tmp"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := image(t, tt.image...)
			before := names(tr)
			err := CheckBootCopy(tr)
			switch {
			case tt.err == "" && err != nil:
				t.Error(err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if names(tr) != before {
				t.Error("the tree was changed")
			}
		})
	}
}

func TestCheckBootCopyFollowsAsManyLinksAsTheKernel(t *testing.T) {
	for _, links := range []int{tree.MaxSymlinks, tree.MaxSymlinks + 1} {
		lines := []string{"usr/end/bin/", "usr/local->l1"}
		for i := 1; i < links-1; i++ {
			lines = append(lines, fmt.Sprintf("usr/l%d->l%d", i, i+1))
		}
		lines = append(lines, fmt.Sprintf("usr/l%d->end", links-1))
		err := CheckBootCopy(image(t, lines...))
		if (err == nil) != (links <= tree.MaxSymlinks) {
			t.Errorf("%d links: error %v", links, err)
		}
	}
}
