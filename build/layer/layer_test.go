package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
)

// spool is a Sink in memory that knows what was stored and given back.
type spool struct {
	stored, discarded int
	live              map[*text]bool
}

type text struct{ s string }

func (t *text) Size() int64                  { return int64(len(t.s)) }
func (t *text) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(t.s)), nil }

func (s *spool) Store(size int64, r io.Reader) (tree.Content, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	c := &text{string(b)}
	if s.live == nil {
		s.live = map[*text]bool{}
	}
	s.live[c] = true
	s.stored++
	return c, nil
}

func (s *spool) Discard(c tree.Content) error {
	if !s.live[c.(*text)] {
		return errors.New("discarded twice")
	}
	delete(s.live, c.(*text))
	s.discarded++
	return nil
}

// build makes a tar from lines: "d name", "f name content", "l name target" (symbolic),
// "h name target" (hard), "p name", "c name"; modes are 0755 for directories, 0644 else.
func build(t testing.TB, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		arg := strings.Join(f[2:], " ")
		h := &tar.Header{Name: f[1], Mode: 0o644, ModTime: time.Unix(1000, 0), Format: tar.FormatPAX}
		switch f[0] {
		case "d":
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case "f":
			h.Typeflag, h.Size = tar.TypeReg, int64(len(arg))
		case "l":
			h.Typeflag, h.Linkname = tar.TypeSymlink, arg
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, arg
		case "p":
			h.Typeflag = tar.TypeFifo
		case "c":
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 5, 1
		default:
			t.Fatalf("line %q", line)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if f[0] == "f" {
			io.WriteString(w, arg)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sources(t testing.TB, layers ...string) []Source {
	var out []Source
	for i, l := range layers {
		b := build(t, l)
		out = append(out, Source{Digest: fmt.Sprintf("layer-%d", i), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}})
	}
	return out
}

// list shows a tree as build takes it; a hard link after its first name is "= first".
func list(t testing.TB, tr *tree.Tree) []string {
	t.Helper()
	var out []string
	first := map[*tree.Node]string{}
	for name, n := range tr.Walk() {
		if name == "." {
			continue
		}
		if f, ok := first[n]; ok {
			out = append(out, "= "+name+" "+f)
			continue
		}
		first[n] = name
		switch n.Mode.Type() {
		case fs.ModeDir:
			out = append(out, "d "+name)
		case fs.ModeSymlink:
			out = append(out, "l "+name+" "+n.Target)
		case fs.ModeNamedPipe:
			out = append(out, "p "+name)
		case 0:
			s := ""
			if n.Content != nil {
				r, err := n.Content.Open()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				b, _ := io.ReadAll(r)
				s = string(b)
			}
			out = append(out, strings.TrimSpace("f "+name+" "+s))
		}
	}
	return out
}

func TestFlatten(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers []string
		want   string
		stored int // files handed to the sink, -1 for any
	}{
		{"one layer", []string{"d a\nf a/x 1\nl s a/x"}, "d a\nf a/x 1\nl s a/x", 1},
		{"upper file replaces", []string{"f x old", "f x new"}, "f x new", 1},
		{"whiteout", []string{"d a\nf a/x 1\nf a/y 2", "f a/.wh.x"}, "d a\nf a/y 2", 1},
		{"whiteout of a directory", []string{"d a\nd a/b\nf a/b/x 1\nf y 2", "f .wh.a"}, "f y 2", 1},
		{"whiteout and a new file in one layer", []string{"d a\nf a/x 1", "f .wh.a\nd a\nf a/z 3"}, "d a\nf a/z 3", 1},
		{"whiteout behind the new file", []string{"d a\nf a/x 1", "d a\nf a/z 3\nf .wh.a"}, "d a\nf a/z 3", 1},
		{"opaque", []string{"d a\nf a/x 1\nd a/s\nf a/s/y 1", "d a\nf a/.wh..wh..opq\nf a/z 3"}, "d a\nf a/z 3", 1},
		{"opaque behind the new file", []string{"d a\nf a/x 1", "f a/z 3\nf a/.wh..wh..opq"}, "d a\nf a/z 3", 1},
		{"opaque in two layers", []string{"d a\nf a/x 1", "f a/y 2\nf a/.wh..wh..opq", "f a/.wh..wh..opq\nf a/z 3"}, "d a\nf a/z 3", 1},
		{"opaque twice in one layer", []string{"d a\nf a/x 1", "f a/.wh..wh..opq\nf a/y 2\nf a/.wh..wh..opq\nf a/z 3"}, "d a\nf a/y 2\nf a/z 3", 2},
		{"opaque root", []string{"d a\nf a/x 1", "f .wh..wh..opq\nf z 3"}, "f z 3", 1},
		{"file over directory", []string{"d a\nf a/x 1", "f a file"}, "f a file", 1},
		{"directory over file", []string{"f a file", "d a\nf a/x 1"}, "d a\nf a/x 1", 1},
		{"directory over file over directory", []string{"d a\nf a/x 1", "f a file", "d a\nf a/y 2"}, "d a\nf a/y 2", 1},
		{"directory over symlink replaces it", []string{"d u\nf u/x 1\nl a u", "d a\nf a/y 2"}, "d a\nf a/y 2\nd u\nf u/x 1", 2},
		{"parent through a symlink", []string{"d usr\nd usr/bin\nf usr/bin/x 1\nl bin usr/bin", "f bin/y 2"}, "l bin usr/bin\nd usr\nd usr/bin\nf usr/bin/x 1\nf usr/bin/y 2", 2},
		{"replacing through a symlink", []string{"d usr\nd usr/bin\nf usr/bin/x 1\nl bin usr/bin", "f bin/x 2"}, "l bin usr/bin\nd usr\nd usr/bin\nf usr/bin/x 2", 2},
		{"whiteout through a symlink", []string{"d usr\nd usr/bin\nf usr/bin/x 1\nl bin usr/bin", "f bin/.wh.x"}, "l bin usr/bin\nd usr\nd usr/bin", 1},
		{"parent through an absolute symlink stays inside", []string{"l bin /../../usr/bin", "f bin/y 2"}, "l bin /../../usr/bin\nd usr\nd usr/bin\nf usr/bin/y 2", 1},
		{"implied parents", []string{"f a/b/c 1"}, "d a\nd a/b\nf a/b/c 1", 1},
		{"hard link", []string{"f a 1\nh b a"}, "f a 1\n= b a", 1},
		{"hard link whose first name is hidden", []string{"f a 1\nh b a", "f a 2"}, "f a 2\nf b 1", 2},
		{"hard link to a lower layer", []string{"f a 1", "h b a"}, "f a 1\n= b a", 1},
		{"hard link, then its first name whited out", []string{"f a 1", "h b a\nf .wh.a"}, "f b 1", 1},
		{"a name twice in one layer", []string{"f a 1\nf a 2"}, "f a 2", 2},
		{"spellings of a name", []string{"d ./\nd ./a/\nf /a//x 1"}, "d a\nf a/x 1", 1},
		{"aufs bookkeeping", []string{"d .wh..wh.plnk\nf .wh..wh.plnk/x 1\nf .wh..wh.aufs 2\nf a 3"}, "f a 3", 1},
		{"whiteout of nothing", []string{"f a 3", "f .wh.b\nf c/.wh.b\nf c/.wh..wh..opq\nf a/.wh.b"}, "f a 3", 1},
		{"fifo", []string{"p a"}, "p a", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			sink := &spool{}
			tr, err := Flatten(t.Context(), sources(t, test.layers...), sink, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(test.want, "\n"), list(t, tr)); diff != "" {
				t.Errorf("tree differs (-want +got):\n%s", diff)
			}
			if sink.stored != test.stored {
				t.Errorf("%d files stored, want %d", sink.stored, test.stored)
			}
			inTree := map[*text]bool{}
			for _, n := range tr.Walk() {
				if c, ok := n.Content.(*text); ok {
					inTree[c] = true
				}
			}
			if diff := cmp.Diff(len(inTree), len(sink.live)); diff != "" {
				t.Errorf("content left in the sink that no name leads to: %s", diff)
			}
		})
	}
}

func TestFlattenReadsALayerTwiceOnlyForHiddenContent(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers []string
		want   []int // reads of each layer
	}{
		{"directories over directories", []string{"d a\nd a/b\nf a/b/x 1", "d a\nd a/b\nf a/b/y 2", "d a"}, []int{1, 1, 1}},
		{"replaced and removed files", []string{"f x 1\nf y 1\nf z/z 1", "f x 2\nf .wh.y\nf z/.wh..wh..opq"}, []int{1, 1}},
		{"hard link whose first name is replaced", []string{"f z 1", "f x 1\nh y x", "f x 2"}, []int{1, 2, 1}},
		{"link in place of a directory", []string{"l d e\nf d/x 1", "d d\nf d/x 2"}, []int{2, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			reads := make([]int, len(test.layers))
			layers := sources(t, test.layers...)
			for i, l := range layers {
				layers[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
					reads[i]++
					return l.Open(ctx)
				}
			}
			if _, err := Flatten(t.Context(), layers, &spool{}, Options{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, reads); diff != "" {
				t.Errorf("reads differ (-want +got):\n%s", diff)
			}
		})
	}
}
