package mapping

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
)

// canary is the content of a host file that no mapping may read or change.
const canary = "the canary outside the project"

// hostileProject has links of every kind and, beside it, the canary.
func hostileProject(f *testing.F) *os.Root {
	root := project(f,
		"app=x", "d/a=1", "d/s/b=2", "d/in->a", "d/loop->loop", "esc/up->../../canary", "esc/f=f",
		"abs->/etc", "up->..", "via->d/s", "through->via/../..", "deep/er/l->../../d", ".env=A",
	)
	if err := os.WriteFile(filepath.Join(filepath.Dir(root.Name()), "canary"), []byte(canary), 0o600); err != nil {
		f.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(filepath.Dir(root.Name()), "canary"), filepath.Join(root.Name(), "canary")); err != nil {
		f.Fatal(err)
	}
	return root
}

func hostileImage(t *testing.T) *tree.Tree {
	return image(t, "bin->usr/bin", "usr/bin/sh=s", "abs->/", "up->../../..", "loop->loop", "gone->/no/where", "etc/f=f", "chain->abs/up/bin")
}

// fuzzSeeds are tried by the fuzzer and by TestFuzzSeedsReachTheTree.
var fuzzSeeds = []struct {
	s1, d1, s2, d2 string
	ok             bool
}{
	{"app", "/bin/app", "d", "/srv", true},
	{"app", "/abs/etc/", "./app", "/up/x", true},
	{"d/in", "/gone/", "via", "/chain", true},
	{"deep", "/gone/x", ".env", "/loop", true},
	{"canary", "/x", "app", "/y", false},
	{"up/canary", "/x", "app", "/y", false},
	{"through/canary", "/x", "app", "/y", false},
	{"esc", "/x", "app", "/y", false},
	{"abs/passwd", "/x", "app", "/y", false},
	{".", "/", "app", "/y", false},
	{"app", "/a\xff/b", "app", "/a\x00", false},
	{"app", "/loop/x", "app", "/y", false},
	{"app", "/x", "app", "/x/y", false},
	{strings.Repeat("a/", 3000), "/x", "app", "/" + strings.Repeat("b/", 3000), false},
}

// FuzzMapping maps arbitrary sources to arbitrary destinations. It must neither
// panic nor read or change anything outside the project, whatever the outcome;
// the outcome must not depend on the order of the mappings; and what is reported
// must be in the tree.
func FuzzMapping(f *testing.F) {
	for _, s := range fuzzSeeds {
		f.Add(s.s1, s.d1, s.s2, s.d2)
	}
	root := hostileProject(f)
	f.Fuzz(func(t *testing.T, s1, d1, s2, d2 string) {
		ms := []Mapping{{s1, d1}, {s2, d2}}
		a, b := hostileImage(t), hostileImage(t)
		ra, errA := Apply(t.Context(), a, root, ms, Options{})
		rb, errB := Apply(t.Context(), b, root, []Mapping{ms[1], ms[0]}, Options{})
		if (errA == nil) != (errB == nil) || errA != nil && errA.Error() != errB.Error() {
			t.Fatalf("order matters: %v; %v", errA, errB)
		}
		if diff := cmp.Diff(ra, rb); diff != "" {
			t.Fatalf("order matters: %s", diff)
		}
		if got, err := os.ReadFile(filepath.Join(filepath.Dir(root.Name()), "canary")); err != nil || string(got) != canary {
			t.Fatalf("the canary is now %q, %v", got, err)
		}
		for name, n := range a.Walk() {
			if err := tree.CheckName(name); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			if n.Mode&fs.ModeSymlink == 0 && bytes.Contains(content(t, n), []byte(canary)) {
				t.Fatalf("%q holds the canary", name)
			}
		}
		for _, file := range ra.Files {
			n, err := a.Lookup(file.Dest)
			if err != nil || n.Mode != file.Mode || n.UID != 0 || n.GID != 0 {
				t.Fatalf("%+v is reported, the tree has %+v, %v", file, n, err)
			}
		}
	})
}

func content(t *testing.T, n *tree.Node) []byte {
	if n.Content == nil {
		return nil
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
	return b
}

func TestFuzzSeedsReachTheTree(t *testing.T) {
	root := project(t, "app=x", "d/a=1", "d/s/b=2", "d/in->a", "via->d/s", "deep/er/l->../../d", ".env=A")
	for _, s := range fuzzSeeds {
		if !s.ok {
			continue
		}
		r, err := Apply(t.Context(), hostileImage(t), root, []Mapping{{s.s1, s.d1}, {s.s2, s.d2}}, Options{})
		if err != nil || len(r.Files) < 2 {
			t.Errorf("%q to %q, %q to %q: %d files, %v", s.s1, s.d1, s.s2, s.d2, len(r.Files), err)
		}
	}
}
