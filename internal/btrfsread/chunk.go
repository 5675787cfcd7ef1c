package btrfsread

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Bits of a chunk's type.
const (
	chunkData     = 1 << 0
	chunkSystem   = 1 << 1
	chunkMetadata = 1 << 2
	chunkDup      = 1 << 5
	chunkProfiles = 1<<11 - 1 - chunkData - chunkSystem - chunkMetadata
)

// profileNames are the bits of a chunk's type from 1<<3 on.
var profileNames = []string{"RAID0", "RAID1", "DUP", "RAID10", "RAID5", "RAID6", "RAID1C3", "RAID1C4"}

const (
	maxChunks  = 1 << 16
	chunkHead  = 48
	stripeSize = 32
	keySize    = 17
)

// chunk maps logical addresses to places in the image.
type chunk struct {
	logical, length, kind uint64
	places                []int64 // one, or two that hold the same
}

func (c *chunk) end() uint64 { return c.logical + c.length }

// readChunks reads the chunks of the superblock, and then the chunk tree that is in them.
func (f *FS) readChunks() error {
	size := le.Uint32(f.raw[0xa0:])
	if size > sysChunksMax {
		return fmt.Errorf("superblock: sys_chunk_array of %d bytes, at most %d: %w", size, sysChunksMax, ErrCorrupt)
	}
	for b := f.raw[0x32b:][:size]; len(b) > 0; {
		if len(b) < keySize+chunkHead {
			return fmt.Errorf("superblock: sys_chunk_array: %d bytes are left over: %w", len(b), ErrCorrupt)
		}
		k := readKey(b)
		n := chunkHead + stripeSize*int(le.Uint16(b[keySize+44:]))
		if len(b) < keySize+n {
			return fmt.Errorf("superblock: sys_chunk_array: a chunk of %d bytes, %d are left: %w", n, len(b), ErrCorrupt)
		}
		c, err := f.parseChunk(k, b[keySize:keySize+n])
		if err != nil {
			return fmt.Errorf("superblock: sys_chunk_array: %w", err)
		}
		f.chunks = append(f.chunks, c)
		b = b[keySize+n:]
	}
	if err := f.sortChunks(); err != nil {
		return fmt.Errorf("superblock: sys_chunk_array: %w", err)
	}
	return f.chunkTree()
}

func (f *FS) chunkTree() error {
	t := tree{f: f, name: "chunk tree", at: f.sb.chunkRoot, level: f.sb.chunkRootLevel, generation: f.sb.chunkRootGeneration}
	var found []chunk
	s := t.seek(key{firstChunk, typeChunk, 0})
	for ; s.more(firstChunk, typeChunk); s.next() {
		c, err := f.parseChunk(s.key, s.data)
		if err != nil {
			return fmt.Errorf("chunk tree: %w", err)
		}
		if found = append(found, c); len(found) > maxChunks {
			return fmt.Errorf("chunk tree: more than %d chunks: %w", maxChunks, ErrUnsupported)
		}
	}
	if s.err != nil {
		return s.err
	}
	f.chunks = found
	if err := f.sortChunks(); err != nil {
		return fmt.Errorf("chunk tree: %w", err)
	}
	return nil
}

func (f *FS) parseChunk(k key, b []byte) (chunk, error) {
	bad := func(format string, args ...any) (chunk, error) {
		return chunk{}, fmt.Errorf("chunk at %d: "+format+": %w", append(append([]any{k.offset}, args...), ErrCorrupt)...)
	}
	if k.object != firstChunk || k.kind != typeChunk {
		return bad("its key is %v", k)
	}
	if len(b) < chunkHead+stripeSize {
		return bad("%d bytes", len(b))
	}
	c := chunk{logical: k.offset, length: le.Uint64(b), kind: le.Uint64(b[24:])}
	stripes, want := int(le.Uint16(b[44:])), 1
	switch profile := c.kind & chunkProfiles; {
	case profile == chunkDup:
		want = 2
	case profile != 0:
		return chunk{}, fmt.Errorf("chunk at %d: its profile is %s, single and DUP are read: %w", k.offset, c.profile(), ErrUnsupported)
	}
	sector := uint64(f.sb.SectorSize)
	switch {
	case stripes != want || len(b) != chunkHead+want*stripeSize:
		return bad("%d stripes in %d bytes, want %d", stripes, len(b), want)
	case c.length == 0 || c.length%sector != 0 || c.logical%sector != 0 || c.logical+c.length < c.logical:
		return bad("%d bytes long", c.length)
	case c.kind&(chunkData|chunkSystem|chunkMetadata) == 0:
		return bad("type %#x", c.kind)
	}
	for i := range stripes {
		s := b[chunkHead+i*stripeSize:]
		at := le.Uint64(s[8:])
		if dev := le.Uint64(s); dev != f.sb.devid {
			return bad("a stripe on device %d, the image is device %d", dev, f.sb.devid)
		}
		if at > uint64(f.size) || c.length > uint64(f.size)-at {
			return bad("%d bytes at %d, the image has %d", c.length, at, f.size)
		}
		c.places = append(c.places, int64(at))
	}
	return c, nil
}

// profile is the name of how the chunk is stored.
func (c *chunk) profile() string {
	if c.kind&chunkProfiles == 0 {
		return "single"
	}
	return strings.Join(bitNames(c.kind&chunkProfiles>>3, profileNames), "|")
}

// sortChunks puts chunks in order and refuses those that overlap.
func (f *FS) sortChunks() error {
	slices.SortFunc(f.chunks, func(a, b chunk) int { return cmp.Compare(a.logical, b.logical) })
	for i := 1; i < len(f.chunks); i++ {
		if a, b := &f.chunks[i-1], &f.chunks[i]; a.end() > b.logical {
			return fmt.Errorf("the chunks at %d and at %d overlap: %w", a.logical, b.logical, ErrCorrupt)
		}
	}
	type part struct {
		at, end int64
		logical uint64
	}
	var parts []part
	for i := range f.chunks {
		for _, at := range f.chunks[i].places {
			parts = append(parts, part{at, at + int64(f.chunks[i].length), f.chunks[i].logical})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.at, b.at) })
	for i := 1; i < len(parts); i++ {
		if a, b := parts[i-1], parts[i]; a.end > b.at {
			return fmt.Errorf("the chunks at %d and at %d are both at byte %d: %w", a.logical, b.logical, b.at, ErrCorrupt)
		}
	}
	return nil
}

// find gives the chunk of n bytes at a logical address, nil if there is none that has all
// of them.
func (f *FS) find(logical, n uint64) *chunk {
	i := sort.Search(len(f.chunks), func(i int) bool { return f.chunks[i].logical > logical }) - 1
	if i < 0 || n > f.chunks[i].length || logical-f.chunks[i].logical > f.chunks[i].length-n {
		return nil
	}
	return &f.chunks[i]
}

// copies is where n bytes at a logical address are in the image.
func (f *FS) copies(logical, n uint64, what string) ([]int64, error) {
	c := f.find(logical, n)
	if c == nil {
		return nil, fmt.Errorf("%s: %d bytes at %d are in no chunk: %w", what, n, logical, ErrCorrupt)
	}
	list := make([]int64, 0, len(c.places))
	for _, at := range c.places {
		list = append(list, at+int64(logical-c.logical))
	}
	return list, nil
}

// profiles lists the profiles of the chunks with a bit of kind, "single" and "DUP".
func (f *FS) profiles(kind uint64) string {
	var list []string
	for i := range f.chunks {
		if c := &f.chunks[i]; c.kind&kind != 0 {
			list = append(list, c.profile())
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// DataProfile is how content is stored: "single" or "DUP", or both if chunks differ.
func (f *FS) DataProfile() string { return f.profiles(chunkData) }

// MetadataProfile is how trees are stored.
func (f *FS) MetadataProfile() string { return f.profiles(chunkMetadata) }
