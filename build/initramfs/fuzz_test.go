package initramfs

import (
	"bytes"
	"io"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// grow makes a tree from arbitrary bytes: each record of them is a node and where it goes. What the
// tree refuses is left out.
func grow(data []byte) *tree.Tree {
	tr := tree.New()
	var nodes []*tree.Node
	types := []fs.FileMode{0, 0, fs.ModeDir, fs.ModeSymlink, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice, fs.ModeNamedPipe, fs.ModeSocket}
	next := func(n int) []byte {
		part := data[:min(n, len(data))]
		data = data[len(part):]
		return append(slices.Clone(part), make([]byte, n-len(part))...)
	}
	number := func() uint32 {
		b := next(4)
		return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	}
	for len(data) > 0 {
		head := next(4)
		name := string(next(int(head[1])%40 + 1))
		var n *tree.Node
		if head[0]&0x80 != 0 && len(nodes) > 0 {
			n = nodes[int(head[2])%len(nodes)] // one more name of an inode
		} else {
			kind := types[int(head[0])%len(types)]
			n = &tree.Node{
				Mode: kind | fs.FileMode(head[2])<<1&0o777, UID: number(), GID: number(),
				ModTime: time.Unix(int64(int32(number()))*3, 0),
			}
			switch body := next(int(head[3])); {
			case kind == fs.ModeSymlink:
				n.Target = string(body)
			case kind&fs.ModeDevice != 0:
				n.Rdev = tree.Rdev{Major: uint32(head[3]) << 5, Minor: number() >> 11}
			case kind == 0 && head[3] > 0:
				n.Content = memory(body)
			}
		}
		if tr.Put(name, n) == nil {
			nodes = append(nodes, n)
		}
	}
	return tr
}

// FuzzNewc archives arbitrary trees and has somebody else's reader read them.
func FuzzNewc(f *testing.F) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tr := grow(data)
		var b bytes.Buffer
		st, err := Write(t.Context(), &b, tr, Options{Compression: None})
		if err != nil {
			return // it named what does not fit; TestWriteRefuses looks at that
		}
		got, err := readArchive(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("reading %q: %v", b.Bytes(), err)
		}
		if want := expected(t, tr); !slices.Equal(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if st.Entries != len(got) || st.Unpacked != int64(b.Len()) || b.Len()%align != 0 {
			t.Fatalf("%+v of %d names in %d bytes", st, len(got), b.Len())
		}
		for _, o := range []Options{{Level: 1}, {Compression: Zstd, Level: 1}} {
			if _, err := Write(t.Context(), io.Discard, tr, o); err != nil {
				t.Fatalf("%+v: %v", o, err)
			}
		}
	})
}

// Files and folders, two names of one file, links, devices; then names inside folders.
var seeds = []string{
	"\x02\x00\xff\x00d" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x02\xa4\x05d/f" + "\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03" + "hello",
	"\x00\x00\xa4\x03a" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "abc" + "\x80\x00\x00\x00b" + "\x80\x00\x00\x00c",
	"\x03\x00\xff\x03l" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "a/b" + "\x05\x00\x80\x00c" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x01\x02\x03",
}

// The seeds are worth something only if they get to the reader.
func TestFuzzSeedsMakeTrees(t *testing.T) {
	for i, want := range []int{3, 4, 3} {
		tr := grow([]byte(seeds[i]))
		got, err := readArchive(bytes.NewReader(archive(t, tr, Options{Compression: None})))
		if err != nil || len(got) != want {
			t.Errorf("seed %d: %d names, %v, want %d: %+v", i, len(got), err, want, got)
		}
	}
}
