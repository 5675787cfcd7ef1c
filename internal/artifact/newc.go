package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A newc header is a magic and 13 fields of 8 hexadecimal digits.
const (
	headerSize = 6 + 13*8 // bytes
	maxName    = 4096     // bytes with the NUL, and bytes of a link's target: PATH_MAX
	trailer    = "TRAILER!!!"
)

// FieldNames are the names of the fields of a newc header, in their order.
var FieldNames = [13]string{
	"c_ino", "c_mode", "c_uid", "c_gid", "c_nlink", "c_mtime", "c_filesize",
	"c_devmajor", "c_devminor", "c_rdevmajor", "c_rdevminor", "c_namesize", "c_check",
}

// Places of the fields.
const (
	cIno = iota
	cMode
	cUID
	cGID
	cNlink
	cMtime
	cFilesize
	cDevmajor
	cDevminor
	cRdevmajor
	cRdevminor
	cNamesize
	cCheck
)

// A Record is one header of a newc archive, with its name.
type Record struct {
	Name   string     // as the archive spells it
	Magic  string     // "070701", or "070702" with checksums
	Fields [13]uint32 // see FieldNames
	Offset int64      // of the header, in bytes of the uncompressed archive
	Entry  *Entry     // nil for the trailer
	Lower  bool       // digits over 9 are written in lower case
}

// Body is where the record's content begins.
func (r *Record) Body() int64 { return r.Offset + align(headerSize+int64(len(r.Name))+1) }

// Size is the bytes of content.
func (r *Record) Size() int64 { return int64(r.Fields[cFilesize]) }

func (r *Record) kind() Type { return typeBits[r.Fields[cMode]&0xF000] }

// summed reports whether c_check is the sum of the content's bytes. Links' targets
// have none, neither for GNU cpio nor for the kernel.
func (r *Record) summed() bool { return r.Magic == "070702" && r.kind() == File }

// align rounds up to a multiple of 4, as headers with names and bodies are.
func align(n int64) int64 { return (n + 3) &^ 3 }

// guard stands between the uncompressed bytes and the cpio reader. It lets the
// bytes through unchanged, but only after it has checked them: a header and its
// name before the reader sees any of it.
type guard struct {
	r       io.Reader
	pos     int64 // of r
	rec     *Record
	pending []byte // checked, not read yet
	left    int64  // bytes of the body that come next
	pad     int    // bytes of padding after them
	sum     uint32 // of the body so far
	ended   bool   // the trailer was read
	count   int    // records
	dirty   func(where string)
	err     error
}

// fail makes an error about the current record.
func (g *guard) fail(at int64, format string, args ...any) error {
	where := fmt.Sprintf("record %d at byte %d", g.count, at)
	if g.rec != nil && g.rec.Name != "" {
		where = fmt.Sprintf("record %d (%q) at byte %d", g.count, g.rec.Name, at)
	}
	return fmt.Errorf("%s of the archive: %w", where, fmt.Errorf(format+": %w", append(args, ErrMalformed)...))
}

// Read implements io.Reader. It gives io.EOF only after the trailer.
func (g *guard) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.err == nil && len(g.pending) == 0 && g.left == 0 {
		switch {
		case g.pad > 0:
			g.err = g.padding()
		case g.ended:
			return 0, io.EOF
		default:
			g.err = g.header()
		}
	}
	if g.err != nil {
		return 0, g.err
	}
	if len(g.pending) > 0 {
		n := copy(p, g.pending)
		g.pending = g.pending[n:]
		return n, nil
	}
	return g.body(p)
}

func (g *guard) body(p []byte) (int, error) {
	n, err := g.r.Read(p[:min(int64(len(p)), g.left)])
	g.pos += int64(n)
	g.left -= int64(n)
	if g.rec.summed() {
		for _, b := range p[:n] {
			g.sum += uint32(b)
		}
	}
	switch {
	case n > 0 && g.left == 0 && g.rec.summed() && g.sum != g.rec.Fields[cCheck]:
		g.err = g.fail(g.rec.Offset, "c_check is %08x, the content's sum %08x", g.rec.Fields[cCheck], g.sum)
		return 0, g.err
	case n > 0:
		return n, nil
	case errors.Is(err, io.EOF):
		err = g.fail(g.pos, "the archive ends inside the content, %d of %d bytes before its end", g.left, g.rec.Size())
	}
	g.err = err
	return 0, err
}

func (g *guard) padding() error {
	b := make([]byte, g.pad)
	g.pad = 0
	if err := g.fill(b, "the padding after the content"); err != nil {
		return err
	}
	if firstNonZero(b) >= 0 {
		g.dirty(g.rec.Name)
	}
	g.pending = b
	return nil
}

// fill reads len(p) bytes of a structure.
func (g *guard) fill(p []byte, what string) error {
	n, err := io.ReadFull(g.r, p)
	g.pos += int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return g.fail(g.pos, "the archive ends inside %s", what)
	}
	return err
}

// header reads and checks the next header, its name and the padding after it.
func (g *guard) header() error {
	g.rec = &Record{Offset: g.pos}
	g.count++
	raw := make([]byte, headerSize, headerSize+256)
	if n, err := io.ReadFull(g.r, raw); err != nil {
		g.pos += int64(n)
		g.rec.Magic = string(raw[:min(n, 6)])
		switch {
		case n == 0 && errors.Is(err, io.EOF):
			return g.fail(g.pos, "the archive ends without a trailer")
		case errors.Is(err, io.ErrUnexpectedEOF):
			return g.fail(g.pos, "the archive ends inside a header")
		}
		return err
	}
	g.pos += headerSize
	if err := g.parse(raw); err != nil {
		return err
	}
	size := int(g.rec.Fields[cNamesize])
	raw = append(raw, make([]byte, int(align(int64(headerSize+size)))-headerSize)...)
	if err := g.fill(raw[headerSize:], "a name"); err != nil {
		return err
	}
	if err := g.name(raw[headerSize : headerSize+size]); err != nil {
		return err
	}
	if firstNonZero(raw[headerSize+size:]) >= 0 {
		g.dirty(g.rec.Name)
	}
	if err := g.fields(); err != nil {
		return err
	}
	g.pending, g.left, g.sum = raw, g.rec.Size(), 0
	g.pad = int(align(g.left) - g.left)
	return nil
}

// parse decodes a header's digits.
func (g *guard) parse(raw []byte) error {
	switch g.rec.Magic = string(raw[:6]); g.rec.Magic {
	case "070701", "070702":
	case "070707":
		return fmt.Errorf("record %d at byte %d of the archive is of the old portable format (odc): the kernel takes newc only: %w", g.count, g.rec.Offset, ErrUnsupported)
	default:
		return g.fail(g.rec.Offset, "magic is %q, not \"070701\"", raw[:6])
	}
	for i := range g.rec.Fields {
		at := 6 + 8*i
		for j, c := range raw[at : at+8] {
			d := bytes.IndexByte([]byte("0123456789abcdef"), c|0x20)
			if d < 0 || c < '0' {
				return g.fail(g.rec.Offset+int64(at+j), "%s is %q: not 8 hexadecimal digits", FieldNames[i], raw[at:at+8])
			}
			g.rec.Lower = g.rec.Lower || c >= 'a'
			g.rec.Fields[i] = g.rec.Fields[i]<<4 | uint32(d)
		}
	}
	if n := g.rec.Fields[cNamesize]; n < 2 || n > maxName {
		return g.fail(g.rec.Offset, "c_namesize is %d: want 2 to %d, with the NUL", n, maxName)
	}
	if c := g.rec.Fields[cCheck]; c != 0 && g.rec.Magic == "070701" {
		return g.fail(g.rec.Offset, "c_check is %08x: want 0 without checksums", c)
	}
	return nil
}

// name checks a name and its NUL.
func (g *guard) name(b []byte) error {
	end := len(b) - 1
	if b[end] != 0 {
		return g.fail(g.rec.Offset, "the name's %d bytes %q do not end with a NUL", len(b), b)
	}
	if i := bytes.IndexByte(b, 0); i < end {
		return g.fail(g.rec.Offset, "the name %q holds a NUL", b[:end])
	}
	g.rec.Name = string(b[:end])
	return nil
}

// fields checks what a header says about its content.
func (g *guard) fields() error {
	r := g.rec
	if r.Name == trailer {
		if r.Size() != 0 {
			return g.fail(r.Offset, "the trailer has %d bytes of content", r.Size())
		}
		g.ended = true
		return nil
	}
	mode := r.Fields[cMode]
	switch k := r.kind(); {
	case k == "" || mode > 0xFFFF:
		return g.fail(r.Offset, "c_mode is %#o: no type of file", mode)
	case k == Symlink && (r.Size() == 0 || r.Size() >= maxName):
		return g.fail(r.Offset, "symbolic link's target of %d bytes: want 1 to %d", r.Size(), maxName-1)
	case k != File && k != Symlink && r.Size() != 0:
		return g.fail(r.Offset, "a %s with %d bytes of content", k, r.Size())
	}
	if r.summed() && r.Size() == 0 && r.Fields[cCheck] != 0 {
		return g.fail(r.Offset, "c_check is %08x without content", r.Fields[cCheck])
	}
	return nil
}
