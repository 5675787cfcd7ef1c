package artifact

import (
	"context"
	"fmt"
	"sort"
)

// Locate says what lies at a byte of the artifact itself: the field of a header
// or structure, or the byte of a file. Names are quoted. The error is that of ctx.
func (a *Artifact) Locate(ctx context.Context, off int64) (string, error) {
	switch {
	case off >= a.Size:
		return "the end", nil
	case a.Image != nil:
		return a.Image.Locate(ctx, off)
	case a.Squashfs != nil:
		return a.Squashfs.Locate(ctx, off)
	case a.XFS != nil:
		return a.XFS.Locate(ctx, off)
	case a.Btrfs != nil:
		return a.Btrfs.Locate(ctx, off)
	case a.Archive.Compression.Kind == string(kindNone):
		return a.Archive.Locate(off), nil
	}
	return a.Archive.Compression.locate(off), nil
}

// locate names a part of the compressed file.
func (c *Compression) locate(off int64) string {
	for _, f := range c.Header {
		if off >= f.Offset && off < f.Offset+f.Size {
			return fmt.Sprintf("%s header %s", c.Kind, f.Name)
		}
	}
	switch {
	case off < c.Blocks:
		return c.Kind + " magic"
	case off >= c.End:
		return fmt.Sprintf("padding after the %s data", c.Kind)
	case c.Kind == string(kindGzip) && off >= c.End-4:
		return "gzip trailer ISIZE"
	case c.Kind == string(kindGzip) && off >= c.End-8:
		return "gzip trailer CRC32"
	case c.Checksum && off >= c.End-4:
		return "zstd Content_Checksum"
	}
	return c.Kind + " compressed data"
}

// Locate says what lies at a byte of the uncompressed archive.
func (r *Archive) Locate(off int64) string {
	if off >= r.Uncompressed {
		return "the end"
	}
	i := sort.Search(len(r.Records), func(i int) bool { return r.Records[i].Offset > off }) - 1
	if i < 0 {
		return "before the first record" // records begin at 0
	}
	rec := r.Records[i]
	who := fmt.Sprintf("record %d (%q)", i+1, rec.Name)
	at := off - rec.Offset
	switch body := off - rec.Body(); {
	case at < 6:
		return "header of " + who + " c_magic"
	case at < headerSize:
		return "header of " + who + " " + FieldNames[(at-6)/8]
	case at < headerSize+int64(len(rec.Name))+1:
		return "name of " + who
	case body < 0:
		return "padding after the name of " + who
	case rec.Entry == nil:
		return "padding after the trailer"
	case body < rec.Size() && rec.Entry.Type == Symlink:
		return "target of " + who
	case body < rec.Size():
		return fmt.Sprintf("data of %q, byte %d", rec.Entry.Name, body)
	}
	return "padding after the content of " + who
}
