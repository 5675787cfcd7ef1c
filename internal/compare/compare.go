package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/volant/fledge-action/internal/artifact"
)

// Options limits a comparison.
type Options struct {
	// MaxContent is how many bytes of files are read in each artifact, to compare
	// and to hash; 0 means 64 GiB.
	MaxContent int64
}

// Result is how two artifacts, A and B, differ.
type Result struct {
	Paths      []Path
	Structures []Structure
	First      *First // nil if the artifacts are the same bytes
}

// Same reports whether both artifacts have the same bytes.
func (r *Result) Same() bool { return r.First == nil }

// Path is a name that only one artifact has, or that differs.
type Path struct {
	Name    string
	Only    string        // "a" or "b"; "" if both have it
	Type    artifact.Type // of a name that only one has
	Changes []Change      // of a name that both have
}

// Change is a field with its values, as text. Text from the artifacts is quoted
// where it is not plain.
type Change struct {
	Field, A, B string

	// Offset is the first byte that differs, of a field that is bytes.
	Offset *int64
}

// Structure is a difference of the format's own structures.
type Structure struct {
	Where string // "superblock", "gzip header", `inode of "etc/passwd"`
	Change
}

// First is the first byte that differs.
type First struct {
	Offset int64
	A, B   string // what lies there in each

	// Uncompressed is the first byte that differs when both archives are
	// uncompressed. It is nil if there is none, if they are not compressed, or if
	// one of them is no archive.
	Uncompressed *First
}

// SameBytes finds the first byte at which two files differ; -1 means that they are
// the same.
func SameBytes(ctx context.Context, a io.ReaderAt, sizeA int64, b io.ReaderAt, sizeB int64) (int64, error) {
	n := min(sizeA, sizeB)
	off, err := firstDifference(ctx, a, b, 0, n)
	if err == nil && off < 0 && sizeA != sizeB {
		return n, nil
	}
	return off, err
}

const bufferSize = 256 << 10

// firstDifference compares the bytes from start to end; -1 means that they are
// the same.
func firstDifference(ctx context.Context, a, b io.ReaderAt, start, end int64) (int64, error) {
	bufA, bufB := make([]byte, min(bufferSize, end-start)), make([]byte, min(bufferSize, end-start))
	for off := start; off < end; off += bufferSize {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(bufferSize, end-off)
		if err := readFull(a, bufA[:n], off); err != nil {
			return 0, err
		}
		if err := readFull(b, bufB[:n], off); err != nil {
			return 0, err
		}
		if bytes.Equal(bufA[:n], bufB[:n]) {
			continue
		}
		for i := range bufA {
			if bufA[i] != bufB[i] {
				return off + int64(i), nil
			}
		}
	}
	return -1, nil
}

func readFull(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// comparison is one comparison of two artifacts.
type comparison struct {
	ctx    context.Context
	a, b   *artifact.Artifact
	left   int64 // bytes of content that may still be read in each
	limit  int64
	result Result

	samePlain bool // two archives are the same bytes when uncompressed
}

// Artifacts compares two artifacts. Compressed archives have to be opened with a
// Spool.
func Artifacts(ctx context.Context, a, b *artifact.Artifact, opt Options) (*Result, error) {
	if opt.MaxContent == 0 {
		opt.MaxContent = 64 << 30
	}
	c := &comparison{ctx: ctx, a: a, b: b, left: opt.MaxContent, limit: opt.MaxContent}
	for _, step := range []func() error{c.first, c.paths, c.structures} {
		if err := step(); err != nil {
			return nil, err
		}
		if c.result.First == nil {
			break
		}
	}
	return &c.result, nil
}

// first finds the first byte that differs.
func (c *comparison) first() error {
	off, err := SameBytes(c.ctx, c.a.Raw(), c.a.Size, c.b.Raw(), c.b.Size)
	if err != nil || off < 0 {
		return err
	}
	f := &First{Offset: off}
	if f.A, err = c.a.Locate(c.ctx, off); err != nil {
		return err
	}
	if f.B, err = c.b.Locate(c.ctx, off); err != nil {
		return err
	}
	c.result.First = f
	if c.a.Archive == nil || c.b.Archive == nil {
		return nil
	}
	off, err = SameBytes(c.ctx, c.a.Plain(), c.a.Archive.Uncompressed, c.b.Plain(), c.b.Archive.Uncompressed)
	c.samePlain = err == nil && off < 0
	if err != nil || off < 0 || c.a.Plain() == c.a.Raw() && c.b.Plain() == c.b.Raw() {
		return err
	}
	f.Uncompressed = &First{Offset: off, A: c.a.Archive.Locate(off), B: c.b.Archive.Locate(off)}
	return nil
}

// structures compares what the formats have beside the tree.
func (c *comparison) structures() error {
	switch {
	case c.a.Image != nil && c.b.Image != nil:
		return c.images()
	case c.a.Squashfs != nil && c.b.Squashfs != nil:
		return c.squashfs()
	case c.a.XFS != nil && c.b.XFS != nil:
		return c.xfs()
	case c.a.Btrfs != nil && c.b.Btrfs != nil:
		return c.btrfs()
	case c.a.Archive != nil && c.b.Archive != nil:
		c.archives()
	}
	return nil
}

// structure notes a difference if there is one.
func (c *comparison) structure(where, field string, a, b any) {
	if x, y := fmt.Sprint(a), fmt.Sprint(b); x != y {
		c.result.Structures = append(c.result.Structures, Structure{where, Change{Field: field, A: x, B: y}})
	}
}

// field is a named value of a structure.
type field struct{ name, value string }

// readerField is what each reader tells of a field.
type readerField = struct {
	Name   string
	Offset int
	Size   int
	Value  string
}

// fieldsOf takes what is compared of a reader's fields.
func fieldsOf[F ~readerField](list []F) []field {
	out := make([]field, 0, len(list))
	for _, f := range list {
		x := readerField(f)
		out = append(out, field{x.Name, x.Value})
	}
	return out
}

// fields notes what differs between two lists of fields. A field that one of
// them lacks is "none" there.
func (c *comparison) fields(where string, a, b []field) {
	values := map[string]string{}
	for _, f := range b {
		values[f.name] = f.value
	}
	for _, f := range a {
		v, ok := values[f.name]
		if !ok {
			v = none
		}
		delete(values, f.name)
		c.structure(where, f.name, f.value, v)
	}
	for _, f := range b {
		if _, left := values[f.name]; left {
			c.structure(where, f.name, none, f.value)
		}
	}
}

// none stands for a value that is not there.
const none = "none"

// inodeFields compares what only the format knows about the names that both artifacts
// have: their numbers, and the fields that read gives.
func (c *comparison) inodeFields(read func(*artifact.Artifact, *artifact.Entry) ([]field, error)) error {
	return c.both(func(a, b *artifact.Entry) error {
		if toldBefore(a, b) {
			return nil
		}
		x, err := read(c.a, a)
		if err != nil {
			return fmt.Errorf("first artifact: %w", err)
		}
		y, err := read(c.b, b)
		if err != nil {
			return fmt.Errorf("second artifact: %w", err)
		}
		where := inodeOf(a)
		c.structure(where, "number", a.Inode, b.Inode)
		c.fields(where, x, y)
		return nil
	})
}

// toldBefore says that a name's inode has been compared by an earlier name of it.
func toldBefore(a, b *artifact.Entry) bool {
	return a.LinkOf != "" && a.LinkOf != a.Name && a.LinkOf == b.LinkOf
}

// inodeOf is what an inode is called in differences.
func inodeOf(e *artifact.Entry) string { return "inode of " + strconv.Quote(e.Name) }

// both calls fn for every name that both artifacts have, in byte order.
func (c *comparison) both(fn func(a, b *artifact.Entry) error) error {
	for _, e := range c.a.Entries {
		if other := c.b.Lookup(e.Name); other != nil {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			if err := fn(e, other); err != nil {
				return err
			}
		}
	}
	return nil
}
