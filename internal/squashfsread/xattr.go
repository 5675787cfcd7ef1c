package squashfsread

import (
	"fmt"
	"strings"
)

var namespaces = []string{"user.", "trusted.", "security."}

// Limits of an inode's xattrs, in bytes.
const (
	maxXattrName  = 255          // Linux
	maxXattrValue = 64 << 10     // Linux
	maxXattrs     = 16 << 20     // all of them together
	outOfLine     = 1 << 8       // the value is elsewhere
	xattrKind     = 1<<8 - 1     // the namespace
	xattrIDSize   = 16           // an entry of the table
	xattrHead     = 4            // of a name
	valueRefSize  = 8            // what stands for a value that is elsewhere
	maxXattrCount = 64 << 10 / 2 // names of at least one byte and a NUL
)

// readXattrs reads the attributes of an index.
func (f *FS) readXattrs(i uint32) (map[string]string, error) {
	if f.sb.XattrTable == noTable || i >= f.xattrs {
		return nil, fmt.Errorf("xattrs %d of %d: %w", i, f.xattrs, ErrCorrupt)
	}
	var b [xattrIDSize]byte
	if err := f.lookup("xattr table", f.sb.XattrTable+16, i, b[:]); err != nil {
		return nil, err
	}
	c, err := f.xattrCursor(le.Uint64(b[:]))
	if err != nil {
		return nil, err
	}
	count, total := le.Uint32(b[8:]), 0
	if count > maxXattrCount {
		return nil, fmt.Errorf("%d xattrs of one inode: %w", count, ErrCorrupt)
	}
	all := map[string]string{}
	for range count {
		name, value, err := f.readXattr(c)
		if err != nil {
			return nil, err
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("xattr %q occurs twice: %w", name, ErrCorrupt)
		}
		if total += len(name) + len(value); total > maxXattrs {
			return nil, fmt.Errorf("xattrs of more than %d bytes: %w", maxXattrs, ErrUnsupported)
		}
		all[name] = value
	}
	return all, nil
}

func (f *FS) xattrCursor(ref uint64) (*cursor, error) {
	at := f.xattrStart + int64(ref>>16)
	if ref>>48 != 0 || at >= f.xattrEnd || ref&0xffff >= metaSize {
		return nil, fmt.Errorf("xattrs at %#x: %w", ref, ErrCorrupt)
	}
	return &cursor{fs: f, what: "xattrs", at: at, end: f.xattrEnd, off: int(ref & 0xffff)}, nil
}

func (f *FS) readXattr(c *cursor) (name, value string, err error) {
	var head [xattrHead]byte
	if err := c.read(head[:]); err != nil {
		return "", "", err
	}
	kind, size := le.Uint16(head[:]), int(le.Uint16(head[2:]))
	if int(kind&xattrKind) >= len(namespaces) || kind&^(xattrKind|outOfLine) != 0 {
		return "", "", fmt.Errorf("xattr of type %#x: %w", kind, ErrCorrupt)
	}
	prefix := namespaces[kind&xattrKind]
	if size == 0 || size > maxXattrName-len(prefix) {
		return "", "", fmt.Errorf("xattr with a name of %d bytes: %w", size, ErrCorrupt)
	}
	b := make([]byte, size)
	if err := c.read(b); err != nil {
		return "", "", err
	}
	name = prefix + string(b)
	if strings.IndexByte(name, 0) >= 0 {
		return "", "", fmt.Errorf("xattr %q: %w", name, ErrCorrupt)
	}
	v, err := readValue(c)
	if err == nil && kind&outOfLine != 0 {
		if len(v) != valueRefSize {
			return "", "", fmt.Errorf("xattr %q: a reference of %d bytes: %w", name, len(v), ErrCorrupt)
		}
		var at *cursor
		if at, err = f.xattrCursor(le.Uint64(v)); err == nil {
			v, err = readValue(at)
		}
	}
	if err != nil {
		return "", "", fmt.Errorf("xattr %q: %w", name, err)
	}
	return name, string(v), nil
}

func readValue(c *cursor) ([]byte, error) {
	var b [4]byte
	if err := c.read(b[:]); err != nil {
		return nil, err
	}
	n := le.Uint32(b[:])
	if n > maxXattrValue {
		return nil, fmt.Errorf("a value of %d bytes, at most %d: %w", n, maxXattrValue, ErrCorrupt)
	}
	v := make([]byte, n)
	return v, c.read(v)
}
