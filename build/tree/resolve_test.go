package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	image := []string{
		"usr/bin/sh", "bin->usr/bin", "abs->/usr", "up->../../../usr/bin", "etc/rc->../usr/bin/sh", "etc/here->.", "etc/root->/",
		"chain->bin", "gone->no/where", "etc/gone->../no", "loop->loop", "a->b", "b->a", "file", "slash->usr/", "twice->etc/here/here/rc",
		"usr/parent->..", "usr/lib/", "climb->usr/lib/../bin", "through->file/x", "odd->.//usr///bin/.",
	}
	tests := []struct {
		name     string
		followed string // the result when the last component is followed
		kept     string // the result when it is not
	}{
		{"usr/bin/sh", "usr/bin/sh", "usr/bin/sh"},
		{"/usr/bin/sh", "usr/bin/sh", "usr/bin/sh"},
		{"", ".", "."},
		{"/", ".", "."},
		{".", ".", "."},
		{"..", ".", "."},
		{"../../usr", "usr", "usr"},
		{"usr/../usr/./bin//sh", "usr/bin/sh", "usr/bin/sh"},
		{"bin", "usr/bin", "bin"},
		{"bin//", "usr/bin", "bin"},
		{"bin/sh", "usr/bin/sh", "usr/bin/sh"},
		{"bin/new", "usr/bin/new", "usr/bin/new"},
		{"bin/new/deep", "usr/bin/new/deep", "usr/bin/new/deep"},
		{"bin/.", "usr/bin", "usr/bin"},
		{"bin/..", "usr", "usr"},
		{"abs/bin/sh", "usr/bin/sh", "usr/bin/sh"},
		{"up", "usr/bin", "up"},
		{"up/sh", "usr/bin/sh", "usr/bin/sh"},
		{"etc/rc", "usr/bin/sh", "etc/rc"},
		{"etc/here/here/rc", "usr/bin/sh", "etc/rc"},
		{"etc/root", ".", "etc/root"},
		{"etc/root/bin/sh", "usr/bin/sh", "usr/bin/sh"},
		{"chain/sh", "usr/bin/sh", "usr/bin/sh"},
		{"gone", "no/where", "gone"},
		{"gone/x", "no/where/x", "no/where/x"},
		{"gone/../x", "no/x", "no/x"},
		{"etc/gone/x", "no/x", "no/x"},
		{"slash/bin", "usr/bin", "usr/bin"},
		{"slash", "usr", "slash"},
		{"twice", "usr/bin/sh", "twice"},
		{"usr/parent/usr/parent/bin", "usr/bin", "bin"},
		{"climb/sh", "usr/bin/sh", "usr/bin/sh"},
		{"missing/x/y", "missing/x/y", "missing/x/y"},
		{"odd/sh", "usr/bin/sh", "usr/bin/sh"},
	}
	tr := build(t, image...)
	before := names(tr)
	for _, tt := range tests {
		for follow, want := range map[bool]string{true: tt.followed, false: tt.kept} {
			if got, err := tr.Resolve(tt.name, follow); got != want || err != nil {
				t.Errorf("Resolve(%q, %v) = %q, %v, want %q", tt.name, follow, got, err, want)
			}
		}
	}
	if !slices.Equal(before, names(tr)) {
		t.Error("resolving changed the tree")
	}
}

func TestResolveRefuses(t *testing.T) {
	tr := build(t, "file", "d/", "loop->loop", "a->b", "b->a", "through->file/x", "d/tofile->../file", "nul->a\x00b", "long->"+strings.Repeat("x", 256))
	tests := []struct {
		name   string
		follow bool
		want   error
	}{
		{"loop", true, ErrLoop},
		{"loop/x", false, ErrLoop},
		{"a", true, ErrLoop},
		{"a/x", true, ErrLoop},
		{"file/x", true, ErrNotDir},
		{"file/x", false, ErrNotDir},
		{"file/..", true, ErrNotDir},
		{"file/.", false, ErrNotDir},
		{"d/tofile/../d", true, ErrNotDir},
		{"through", true, ErrNotDir},
		{"d/tofile/x", true, ErrNotDir},
		{"x\x00y", true, ErrName},
		{"nul", true, ErrName},
		{"long", true, ErrName},
		{"long/y", false, ErrName},
		{strings.Repeat("x", MaxComponent+1), true, ErrName},
		{strings.Repeat("x/", MaxName), true, ErrName},
		{strings.Repeat("x/", 1<<20), true, ErrName},
		{strings.Repeat("../", MaxName), true, ErrName},
	}
	for _, tt := range tests {
		got, err := tr.Resolve(tt.name, tt.follow)
		if got != "" || !errors.Is(err, tt.want) {
			t.Errorf("Resolve(%.40q, %v) = %q, %v, want %v", tt.name, tt.follow, got, err, tt.want)
		}
	}
	// What is not followed does no harm.
	for _, name := range []string{"loop", "a", "through", "nul", "long"} {
		if got, err := tr.Resolve(name, false); got != name || err != nil {
			t.Errorf("Resolve(%q, false) = %q, %v", name, got, err)
		}
	}
}

func TestResolveCountsLinks(t *testing.T) {
	chain := func(n int) *Tree {
		lines := []string{"l" + fmt.Sprint(n) + "/"}
		for i := range n {
			lines = append(lines, fmt.Sprintf("l%d->l%d", i, i+1))
		}
		return build(t, lines...)
	}
	if got, err := chain(MaxSymlinks).Resolve("l0", true); got != "l40" || err != nil {
		t.Errorf("%d links: %q, %v", MaxSymlinks, got, err)
	}
	if got, err := chain(MaxSymlinks+1).Resolve("l0", true); !errors.Is(err, ErrLoop) {
		t.Errorf("%d links: %q, %v, want ErrLoop", MaxSymlinks+1, got, err)
	}
	// The count is for the whole name, not for each component.
	tr := build(t, "d/", "l->.")
	if _, err := tr.Resolve(strings.Repeat("l/", MaxSymlinks)+"d", true); err != nil {
		t.Errorf("%d links one after another: %v", MaxSymlinks, err)
	}
	if _, err := tr.Resolve(strings.Repeat("l/", MaxSymlinks+1)+"d", true); !errors.Is(err, ErrLoop) {
		t.Errorf("%d links one after another: %v, want ErrLoop", MaxSymlinks+1, err)
	}
}

func TestResolveOfALongNameIsBounded(t *testing.T) {
	deep := strings.Repeat("d/", MaxName/2) + "f" // 4095 bytes
	if got, err := New().Resolve(deep, true); got != deep || err != nil {
		t.Errorf("%d bytes: %v", len(deep), err)
	}
	if _, err := New().Resolve(deep+"f", true); !errors.Is(err, ErrName) {
		t.Errorf("%d bytes: %v, want ErrName", len(deep)+1, err)
	}
	// Each step of this doubles what is left to walk.
	tr := build(t, "l->"+strings.Repeat("l/", MaxName/2))
	if _, err := tr.Resolve("l/x", true); err == nil {
		t.Error("no error")
	}
}

// What Resolve returns can be given to the methods that follow no links.
func TestResolvedNamesHoldNoLinks(t *testing.T) {
	tr := build(t, "usr/bin/sh", "bin->usr/bin", "gone->/no/where", "etc/root->/")
	for _, name := range []string{"bin/x", "gone", "gone/x", "etc/root/bin/y", "/etc/root/etc/root/z"} {
		got, err := tr.Resolve(name, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.MkdirAll(got, *dir()); err != nil {
			t.Errorf("%q leads to %q: %v", name, got, err)
		}
		if again, err := tr.Resolve(got, true); again != got || err != nil {
			t.Errorf("%q leads to %q, which leads to %q, %v", name, got, again, err)
		}
	}
	check(t, tr)
}

// FuzzResolve makes three links with arbitrary targets and resolves an arbitrary
// name. Whatever they are, the result is a valid name that resolves to itself.
func FuzzResolve(f *testing.F) {
	f.Add("bin/sh", "usr/bin", "/usr", "..")
	f.Add("l1/l2/l3/x", "l2", "../../l3", "/d/./f")
	f.Add("l1", "l2", "l3", "l1")
	f.Add("l1/../l2//.", "d/../../d", "", "\x00")
	f.Fuzz(func(t *testing.T, name, a, b, c string) {
		tr := build(t, "usr/bin/sh", "d/f", "d/s/")
		for l, target := range map[string]string{"l1": a, "l2": b, "d/l3": c, "l3": c} {
			if err := tr.Put(l, link(target)); err != nil {
				t.Fatal(err)
			}
		}
		for _, follow := range []bool{true, false} {
			got, err := tr.Resolve(name, follow)
			if err != nil {
				continue
			}
			if err := CheckName(got); err != nil {
				t.Fatalf("Resolve(%q) = %q: %v", name, got, err)
			}
			again, err := tr.Resolve(got, follow)
			if err != nil || again != got {
				t.Fatalf("Resolve(%q) = %q, which gives %q, %v", name, got, again, err)
			}
		}
	})
}
