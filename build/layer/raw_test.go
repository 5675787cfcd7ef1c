package layer

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

// This file builds tars block by block, for what archive/tar's writer refuses to
// write. Offsets are those of POSIX.1-1988 ("ustar") and of GNU tar's manual,
// "Basic Tar Format".
const (
	offMode, offUID, offGID      = 100, 108, 116 // 8 bytes each
	offSize, offMTime            = 124, 136      // 12 bytes each
	offChecksum                  = 148           // 8 bytes
	offType, offLink             = 156, 157      // 1 and 100 bytes
	offMagic                     = 257           // 8 bytes with the version
	offDevMajor, offDevMinor     = 329, 337      // 8 bytes each
	offPrefix                    = 345           // ustar, 155 bytes
	offGNUSparse, offGNUExtended = 386, 482      // GNU, 4 pairs of 12+12 bytes; 1 byte
	offGNURealSize               = 483           // GNU, 12 bytes
	offExtExtended               = 504           // GNU extension block, after 21 pairs
)

const (
	magicUSTAR = "ustar\x0000"
	magicGNU   = "ustar  \x00"
	magicV7    = "\x00\x00\x00\x00\x00\x00\x00\x00"
)

// edit changes a header block before its checksum is made.
type edit func(block []byte)

func put(off int, s string) edit {
	return func(b []byte) { copy(b[off:], s) }
}

// octal writes v as tar does by default: zero-padded and ended by a NUL.
func octal(off, width int, v int64) edit {
	return put(off, fmt.Sprintf("%0*o\x00", width-1, v))
}

// base256 writes v as GNU tar does when octal digits do not suffice: big endian,
// two's complement, the top bit set.
func base256(off, width int, v int64) edit {
	return func(b []byte) {
		for i := width - 1; i >= 0; i-- {
			b[off+i] = byte(v)
			v >>= 8
		}
		b[off] |= 0x80
	}
}

// rawHeader is one header block: mode 0644, owner 0:0, time 1000, no size, ustar.
func rawHeader(typ byte, name string, edits ...edit) []byte {
	b := make([]byte, 512)
	for _, e := range append([]edit{
		put(0, name), octal(offMode, 8, 0o644), octal(offUID, 8, 0), octal(offGID, 8, 0),
		octal(offSize, 12, 0), octal(offMTime, 12, 1000), put(offType, string(typ)), put(offMagic, magicUSTAR),
	}, edits...) {
		e(b)
	}
	copy(b[offChecksum:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[offChecksum:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// rawFile is a header with its content.
func rawFile(name, content string, edits ...edit) []byte {
	h := rawHeader('0', name, append([]edit{octal(offSize, 12, int64(len(content)))}, edits...)...)
	return append(h, padded(content)...)
}

// padded fills content up to whole blocks.
func padded(content string) []byte {
	return append([]byte(content), make([]byte, (512-len(content)%512)%512)...)
}

// pax is an extended header with records given as key, value, key, value, ….
func pax(records ...string) []byte {
	var b strings.Builder
	for i := 0; i < len(records); i += 2 {
		b.WriteString(paxRecord(records[i], records[i+1]))
	}
	return meta('x', b.String())
}

// meta is an entry that tells about the next one: 'x', 'g', 'L' or 'K'.
func meta(typ byte, content string) []byte {
	return append(rawHeader(typ, "meta", octal(offSize, 12, int64(len(content)))), padded(content)...)
}

// paxRecord is "LENGTH KEY=VALUE\n", where LENGTH counts itself.
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	for n := len(rest) + 1; ; n++ {
		if s := fmt.Sprint(n) + rest; len(s) == n {
			return s
		}
	}
}

// archive joins blocks and ends them as tar does.
func archive(parts ...[]byte) []byte {
	return append(bytes.Join(parts, nil), make([]byte, 1024)...)
}

// layersOf makes layers of tars, bottom first, called layer-0, layer-1, ….
func layersOf(tars ...[]byte) []Source {
	var out []Source
	for i, b := range tars {
		out = append(out, Source{Digest: fmt.Sprintf("layer-%d", i), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b)), nil
		}})
	}
	return out
}

// flatten applies tars that have to be good.
func flatten(t *testing.T, tars ...[]byte) *tree.Tree {
	t.Helper()
	tr, err := Flatten(t.Context(), layersOf(tars...), &spool{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// lookup returns a node that has to be there.
func lookup(t *testing.T, tr *tree.Tree, name string) *tree.Node {
	t.Helper()
	n, err := tr.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// contentOf reads a regular file to its end.
func contentOf(t testing.TB, n *tree.Node) string {
	t.Helper()
	if n.Content == nil {
		return ""
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
	return string(b)
}
