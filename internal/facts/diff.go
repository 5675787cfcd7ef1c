package facts

import "fmt"

// A Field is one thing that can differ between two facts of one name.
type Field struct {
	Name string
	text func(Fact) string
}

// The fields, in the order in which Diff reports them.
var (
	Type      = Field{"type", func(f Fact) string { return f.Type }}
	Mode      = Field{"mode", func(f Fact) string { return fmt.Sprintf("%04o", f.Mode) }}
	UID       = Field{"uid", func(f Fact) string { return fmt.Sprint(f.UID) }}
	GID       = Field{"gid", func(f Fact) string { return fmt.Sprint(f.GID) }}
	Size      = Field{"size", func(f Fact) string { return fmt.Sprint(f.Size) }}
	SHA256    = Field{"sha256", func(f Fact) string { return f.SHA256 }}
	Mtime     = Field{"mtime", func(f Fact) string { return f.Mtime.String() }}
	Xattrs    = Field{"xattrs", func(f Fact) string { return xattrString(f.Xattrs) }}
	Links     = Field{"links", func(f Fact) string { return fmt.Sprint(f.Links) }}
	LinkGroup = Field{"link group", func(f Fact) string { return fmt.Sprintf("%q", f.LinkGroup) }}
	Rdev      = Field{"rdev", func(f Fact) string { return f.Rdev }}
	Target    = Field{"target", func(f Fact) string { return fmt.Sprintf("%q", f.Target) }}
	Data      = Field{"data", func(f Fact) string { return fmt.Sprint(f.Data) }}
)

// Fields returns all fields but the given ones.
func Fields(except ...Field) []Field {
	all := []Field{Type, Mode, UID, GID, Size, SHA256, Mtime, Xattrs, Links, LinkGroup, Rdev, Target, Data}
	var out []Field
	for _, f := range all {
		if !named(except, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

func named(fields []Field, name string) bool {
	for _, f := range fields {
		if f.Name == name {
			return true
		}
	}
	return false
}

// Diff returns one line for every name that only one set has and for every
// field in which the two facts of a name differ, in byte order of the names. Without
// fields it compares all of them. Two equal sets give none.
func Diff(a, b Set, fields ...Field) []string {
	if len(fields) == 0 {
		fields = Fields()
	}
	var out []string
	for _, name := range union(a, b).Names() {
		fa, inA := a[name]
		fb, inB := b[name]
		switch {
		case !inB:
			out = append(out, fmt.Sprintf("%q: only in the first, a %s", name, fa.Type))
		case !inA:
			out = append(out, fmt.Sprintf("%q: only in the second, a %s", name, fb.Type))
		default:
			out = append(out, diffFact(fa, fb, fields)...)
		}
	}
	return out
}

func diffFact(a, b Fact, fields []Field) []string {
	var out []string
	for _, f := range fields {
		if x, y := f.text(a), f.text(b); x != y {
			out = append(out, fmt.Sprintf("%q: %s: %s, then %s", a.Name, f.Name, x, y))
		}
	}
	return out
}

func union(a, b Set) Set {
	out := Set{}
	for name := range a {
		out[name] = Fact{}
	}
	for name := range b {
		out[name] = Fact{}
	}
	return out
}
