package compare

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/volant/fledge-action/internal/artifact"
)

// paths compares the trees.
func (c *comparison) paths() error {
	a, b := c.a.Entries, c.b.Entries
	for len(a) > 0 || len(b) > 0 {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			c.only("a", a[0])
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			c.only("b", b[0])
			b = b[1:]
		default:
			changes, err := c.entry(a[0], b[0])
			if err != nil {
				return err
			}
			if len(changes) > 0 {
				c.result.Paths = append(c.result.Paths, Path{Name: a[0].Name, Changes: changes})
			}
			a, b = a[1:], b[1:]
		}
	}
	return nil
}

func (c *comparison) only(side string, e *artifact.Entry) {
	c.result.Paths = append(c.result.Paths, Path{Name: e.Name, Only: side, Type: e.Type})
}

// changes collects fields that differ.
type changes []Change

func (l *changes) add(field string, a, b string) {
	if a != b {
		*l = append(*l, Change{Field: field, A: a, B: b})
	}
}

// entry compares what both artifacts say about a name.
func (c *comparison) entry(a, b *artifact.Entry) ([]Change, error) {
	var l changes
	mixed := c.a.Format() != c.b.Format()
	l.add("type", string(a.Type), string(b.Type))
	l.add("mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	l.add("owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	at, bt := a.Mtime, b.Mtime
	if mixed {
		at, bt = time.Unix(at.Unix(), 0), time.Unix(bt.Unix(), 0)
	}
	l.add("mtime", timeText(at), timeText(bt))
	if !mixed || a.Type != artifact.Dir {
		l.add("links", fmt.Sprint(a.Links), fmt.Sprint(b.Links))
	}
	l.add("hard link", orNone(a.LinkOf), orNone(b.LinkOf))
	xattrs(&l, a.Xattrs, b.Xattrs)
	if a.Type != b.Type {
		return l, nil
	}
	switch a.Type {
	case artifact.Symlink:
		l.add("target", strconv.Quote(a.Target), strconv.Quote(b.Target))
	case artifact.Char, artifact.Block:
		l.add("rdev", fmt.Sprintf("%d:%d", a.Rdev.Major, a.Rdev.Minor), fmt.Sprintf("%d:%d", b.Rdev.Major, b.Rdev.Minor))
	case artifact.File:
		l.add("size", fmt.Sprint(a.Size), fmt.Sprint(b.Size))
		if err := c.content(&l, a, b); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// timeText shows a time in UTC, to the nanosecond if it has any.
func timeText(t time.Time) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func orNone(name string) string {
	if name == "" {
		return none
	}
	return strconv.Quote(name)
}

func xattrs(l *changes, a, b map[string]string) {
	names := slices.Collect(maps.Keys(a))
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	text := func(m map[string]string, name string) string {
		if v, ok := m[name]; ok {
			return clip(v)
		}
		return none
	}
	for _, name := range names {
		va, okA := a[name]
		vb, okB := b[name]
		if okA && okB && va == vb {
			continue
		}
		x, y := text(a, name), text(b, name)
		if x == y { // alike as far as they are shown
			x, y = digestText(va), digestText(vb)
		}
		l.add("xattr "+quoteIfNeeded(name), x, y)
	}
}

// maxValue is how many bytes of a value are shown.
const maxValue = 64

func clip(s string) string {
	if len(s) <= maxValue {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q... (%d bytes)", s[:maxValue], len(s))
}

func digestText(s string) string {
	return fmt.Sprintf("%d bytes, sha256:%x", len(s), sha256.Sum256([]byte(s)))
}

func quoteIfNeeded(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || strings.ContainsRune(s, ' ') {
		return q
	}
	return s
}

// content compares two files' bytes and holes.
func (c *comparison) content(l *changes, a, b *artifact.Entry) error {
	dataA, err := c.a.Data(a)
	if err != nil {
		return fmt.Errorf("first artifact: %w", err)
	}
	dataB, err := c.b.Data(b)
	if err != nil {
		return fmt.Errorf("second artifact: %w", err)
	}
	off, err := c.bytes(a, b, dataA, dataB)
	if err != nil {
		return err
	}
	if off >= 0 {
		x, err := c.digest(c.a, a)
		if err != nil {
			return fmt.Errorf("first artifact: %w", err)
		}
		y, err := c.digest(c.b, b)
		if err != nil {
			return fmt.Errorf("second artifact: %w", err)
		}
		*l = append(*l, Change{Field: "content", A: x, B: y, Offset: &off})
	}
	if size := blockSize(c.a); size > 0 && c.a.Format() == c.b.Format() && size == blockSize(c.b) {
		holesA, holesB := holes(dataA, a.Size), holes(dataB, b.Size)
		if !slices.Equal(holesA, holesB) {
			*l = append(*l, Change{Field: "holes", A: rangesText(holesA), B: rangesText(holesB)})
		}
	}
	return nil
}

// blockSize is what holes are multiples of, 0 in an archive.
func blockSize(a *artifact.Artifact) uint32 {
	switch {
	case a.Image != nil:
		return a.Image.Super().BlockSize
	case a.Squashfs != nil:
		return a.Squashfs.Super().BlockSize
	case a.XFS != nil:
		return a.XFS.Super().BlockSize
	case a.Btrfs != nil:
		return a.Btrfs.Super().SectorSize
	}
	return 0
}

// holes is what is left of a file between its data.
func holes(data []artifact.Range, size int64) []artifact.Range {
	var list []artifact.Range
	at := int64(0)
	for _, r := range append(slices.Clip(data), artifact.Range{Start: size, End: size}) {
		if r.Start > at {
			list = append(list, artifact.Range{Start: at, End: r.Start})
		}
		at = r.End
	}
	return list
}

// bytes finds the first byte that differs, -1 if none does. Where both files have
// holes it reads nothing.
func (c *comparison) bytes(a, b *artifact.Entry, dataA, dataB []artifact.Range) (int64, error) {
	ra, err := c.a.Content(c.ctx, a)
	if err != nil {
		return 0, fmt.Errorf("first artifact: %w", err)
	}
	defer ra.Close()
	rb, err := c.b.Content(c.ctx, b)
	if err != nil {
		return 0, fmt.Errorf("second artifact: %w", err)
	}
	defer rb.Close()
	atA, okA := ra.(io.ReaderAt)
	atB, okB := rb.(io.ReaderAt)
	if !okA || !okB {
		return 0, fmt.Errorf("comparing %q: a compressed archive was opened without a spool", a.Name)
	}
	n := min(a.Size, b.Size)
	for _, r := range union(dataA, dataB, n) {
		if err := c.spend(a.Name, r.End-r.Start); err != nil {
			return 0, err
		}
		off, err := firstDifference(c.ctx, atA, atB, r.Start, r.End)
		if err != nil {
			return 0, fmt.Errorf("comparing %q: %w", a.Name, err)
		}
		if off >= 0 {
			return off, nil
		}
	}
	if a.Size != b.Size {
		return n, nil
	}
	return -1, nil
}

// union is what at least one of two files has as data, up to end.
func union(a, b []artifact.Range, end int64) []artifact.Range {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y artifact.Range) int { return int(min(max(x.Start-y.Start, -1), 1)) })
	var list []artifact.Range
	for _, r := range all {
		r.End = min(r.End, end)
		if n := len(list) - 1; n >= 0 && r.Start <= list[n].End {
			list[n].End = max(list[n].End, r.End)
		} else if r.Start < r.End {
			list = append(list, r)
		}
	}
	return list
}

// spend counts bytes of content.
func (c *comparison) spend(name string, n int64) error {
	if c.left -= n; c.left < 0 {
		return fmt.Errorf("comparing %q: files of more than %d bytes would have to be read: %w", name, c.limit, artifact.ErrLimit)
	}
	return nil
}

// digest hashes a file's whole content.
func (c *comparison) digest(a *artifact.Artifact, e *artifact.Entry) (string, error) {
	if err := c.spend(e.Name, e.Size); err != nil {
		return "", err
	}
	r, err := a.Content(c.ctx, e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	for buf := make([]byte, bufferSize); ; {
		if err := c.ctx.Err(); err != nil {
			return "", err
		}
		n, err := r.Read(buf)
		h.Write(buf[:n])
		if err == io.EOF {
			return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("reading %q: %w", e.Name, err)
		}
	}
}

// maxRanges is how many ranges of a file are shown.
const maxRanges = 8

func rangesText(list []artifact.Range) string {
	if len(list) == 0 {
		return none
	}
	var b strings.Builder
	total := int64(0)
	for i, r := range list {
		if total += r.End - r.Start; i < maxRanges {
			fmt.Fprintf(&b, "%d-%d ", r.Start, r.End)
		}
	}
	if len(list) > maxRanges {
		b.WriteString("... ")
	}
	fmt.Fprintf(&b, "(%d bytes in %d)", total, len(list))
	return b.String()
}
