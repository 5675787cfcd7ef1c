package btrfsread

import (
	"cmp"
	"errors"
	"fmt"
	"sort"
)

// Types of keys.
const (
	typeInode        = 1
	typeInodeRef     = 12
	typeInodeExtref  = 13
	typeXattr        = 24
	typeOrphan       = 48
	typeDirItem      = 84
	typeDirIndex     = 96
	typeExtentData   = 108
	typeExtentCsum   = 128
	typeRoot         = 132
	typeExtent       = 168
	typeMetadata     = 169
	typeChunk        = 228
	extentTree       = 2
	fsTree           = 5
	csumTree         = 7
	firstChunk       = 256
	rootInode        = 256
	csumObject       = 1<<64 - 10
	headerSize       = 101
	itemSize         = keySize + 8
	pointerSize      = keySize + 16
	rootItemMin      = 239
	headerBytenr     = 0x30
	headerGeneration = 0x50
	headerOwner      = 0x58
	headerItems      = 0x60
	headerLevel      = 0x64
)

// key is what items of trees are sorted by.
type key struct {
	object uint64
	kind   uint8
	offset uint64
}

func readKey(b []byte) key { return key{le.Uint64(b), b[8], le.Uint64(b[9:])} }

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.object, o.object), cmp.Compare(k.kind, o.kind), cmp.Compare(k.offset, o.offset))
}

func (k key) String() string { return fmt.Sprintf("(%d %d %d)", k.object, k.kind, k.offset) }

// maxKey is behind all items.
var maxKey = key{1<<64 - 1, 1<<8 - 1, 1<<64 - 1}

// node is a sound node of a tree.
type node struct {
	b          []byte
	at         uint64
	generation uint64
	level      uint8
	count      int
}

func (n *node) key(i int) key {
	if n.level == 0 {
		return readKey(n.b[headerSize+i*itemSize:])
	}
	return readKey(n.b[headerSize+i*pointerSize:])
}

// item is the place of a leaf's item in the node.
func (n *node) item(i int) (start, end uint64) {
	b := n.b[headerSize+i*itemSize+keySize:]
	start = headerSize + uint64(le.Uint32(b))
	return start, start + uint64(le.Uint32(b[4:]))
}

func (n *node) data(i int) []byte {
	start, end := n.item(i)
	return n.b[start:end:end]
}

// pointer is what an inner node's slot leads to.
func (n *node) pointer(i int) (at, generation uint64) {
	b := n.b[headerSize+i*pointerSize+keySize:]
	return le.Uint64(b), le.Uint64(b[8:])
}

// tree is a tree's root.
type tree struct {
	f          *FS
	name       string
	at         uint64
	level      uint8
	generation uint64
}

const cacheBytes = 8 << 20

// node reads a node, which has to have a level and a generation.
func (t *tree) node(at uint64, level uint8, generation uint64) (*node, error) {
	f := t.f
	f.mu.Lock()
	n := f.nodes[at]
	f.mu.Unlock()
	if n == nil {
		var err error
		if n, err = f.readNode(at); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		f.mu.Lock()
		if f.nodes[at] == nil {
			f.nodes[at], f.order = n, append(f.order, at)
			if len(f.order) > cacheBytes/int(f.sb.NodeSize) {
				delete(f.nodes, f.order[0])
				f.order = f.order[1:]
			}
		}
		f.mu.Unlock()
	}
	if n.level != level || n.generation != generation {
		return nil, fmt.Errorf("%s: the node at %d has level %d and generation %d, what leads to it says %d and %d: %w",
			t.name, at, n.level, n.generation, level, generation, ErrCorrupt)
	}
	return n, nil
}

// readNode reads the first good copy of a node.
func (f *FS) readNode(at uint64) (*node, error) {
	if at%uint64(f.sb.SectorSize) != 0 {
		return nil, fmt.Errorf("a node at %d: %w", at, ErrCorrupt)
	}
	places, err := f.copies(at, uint64(f.sb.NodeSize), "a node")
	if err != nil {
		return nil, err
	}
	var first error
	for _, place := range places {
		n, err := f.nodeAt(place, at, f.opt.Verify)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// nodeAt reads one copy of a node.
func (f *FS) nodeAt(place int64, at uint64, verify bool) (*node, error) {
	b := make([]byte, f.sb.NodeSize)
	if err := f.readAt(b, place, "a node"); err != nil {
		return nil, err
	}
	n := &node{b: b, at: at, generation: le.Uint64(b[headerGeneration:]), level: b[headerLevel]}
	bad := func(format string, args ...any) (*node, error) {
		return nil, fmt.Errorf("the node at %d (byte %d): "+format+": %w", append(append([]any{at, place}, args...), ErrCorrupt)...)
	}
	if got, want := crc(b[csumSize:]), le.Uint32(b); verify && got != want {
		return bad("the checksum is %#x, its bytes have %#x", want, got)
	}
	count := le.Uint32(b[headerItems:])
	room := (f.sb.NodeSize - headerSize) / pointerSize
	if n.level == 0 {
		room = (f.sb.NodeSize - headerSize) / itemSize
	}
	switch {
	case le.Uint64(b[headerBytenr:]) != at:
		return bad("it says that it is at %d", le.Uint64(b[headerBytenr:]))
	case [16]byte(b[0x20:]) != f.sb.MetadataUUID:
		return bad("it is of another filesystem, %x", b[0x20:0x30])
	case n.level >= maxLevel:
		return bad("level %d", n.level)
	case n.generation > f.sb.Generation:
		return bad("generation %d, the filesystem has %d", n.generation, f.sb.Generation)
	case count > room || count == 0 && n.level > 0:
		return bad("%d items", count)
	}
	n.count = int(count)
	for i := 1; i < n.count; i++ {
		if a, b := n.key(i-1), n.key(i); a.compare(b) >= 0 {
			return bad("the key %v after %v", b, a)
		}
	}
	if n.level > 0 {
		return n, nil
	}
	behind := uint64(f.sb.NodeSize)
	for i := range n.count {
		start, end := n.item(i)
		if end != behind || start < headerSize+uint64(n.count)*itemSize {
			return bad("item %d is from byte %d to %d, it should end at %d", i, start, end, behind)
		}
		behind = start
	}
	return n, nil
}

// child reads what a slot leads to. bound is the key that all of it has to be below.
func (t *tree) child(n *node, i int, bound key) (*node, error) {
	at, generation := n.pointer(i)
	c, err := t.node(at, n.level-1, generation)
	if err != nil {
		return nil, err
	}
	if c.count == 0 {
		return nil, fmt.Errorf("%s: the node at %d is empty: %w", t.name, at, ErrCorrupt)
	}
	if k := n.key(i); c.key(0) != k {
		return nil, fmt.Errorf("%s: the node at %d begins with the key %v, what leads to it says %v: %w", t.name, at, c.key(0), k, ErrCorrupt)
	}
	if k := c.key(c.count - 1); k.compare(bound) > 0 || k == bound && bound != maxKey {
		return nil, fmt.Errorf("%s: the node at %d has the key %v, what follows it begins with %v: %w", t.name, at, k, bound, ErrCorrupt)
	}
	return c, nil
}

// scan goes through the items of a tree by rising key.
type scan struct {
	t    *tree
	path []step
	key  key    // of the item
	data []byte // not to be changed
	err  error  // what ended it, if not the end
	done bool
}

type step struct {
	n     *node
	slot  int
	bound key
}

// seek begins with the first item that is not before k.
func (t *tree) seek(k key) *scan {
	s := &scan{t: t}
	n, err := t.node(t.at, t.level, t.generation)
	bound := maxKey
	for err == nil {
		i := sort.Search(n.count, func(i int) bool { return n.key(i).compare(k) > 0 })
		if i > 0 && (n.level > 0 || n.key(i-1) == k) {
			i--
		}
		s.path = append(s.path, step{n, i, bound})
		if n.level == 0 {
			s.settle()
			return s
		}
		if i+1 < n.count {
			bound = n.key(i + 1)
		}
		n, err = t.child(n, i, bound)
	}
	s.err, s.done = err, true
	return s
}

// next goes to the next item.
func (s *scan) next() {
	if !s.done {
		s.path[len(s.path)-1].slot++
		s.settle()
	}
}

// settle goes on to a leaf that has an item.
func (s *scan) settle() {
	for {
		at := &s.path[len(s.path)-1]
		switch {
		case at.slot < at.n.count && at.n.level == 0:
			s.key, s.data = at.n.key(at.slot), at.n.data(at.slot)
			return
		case at.slot < at.n.count:
			bound := at.bound
			if at.slot+1 < at.n.count {
				bound = at.n.key(at.slot + 1)
			}
			n, err := s.t.child(at.n, at.slot, bound)
			if err != nil {
				s.err, s.done = err, true
				return
			}
			s.path = append(s.path, step{n, 0, bound})
		case len(s.path) == 1:
			s.done = true
			return
		default:
			s.path = s.path[:len(s.path)-1]
			s.path[len(s.path)-1].slot++
		}
	}
}

// more tells whether the item is one of a kind of an object.
func (s *scan) more(object uint64, kind uint8) bool {
	return !s.done && s.key.object == object && s.key.kind == kind
}

// get gives an item by its exact key, nil if there is none.
func (t *tree) get(k key) ([]byte, error) {
	s := t.seek(k)
	if s.err != nil || s.done || s.key != k {
		return nil, s.err
	}
	return s.data, nil
}

// subtree reads the root of a tree from an item of the root tree.
func (f *FS) subtree(name string, b []byte) (tree, error) {
	if len(b) < rootItemMin {
		return tree{}, fmt.Errorf("root tree: %s: an item of %d bytes: %w", name, len(b), ErrCorrupt)
	}
	t := tree{f: f, name: name, at: le.Uint64(b[176:]), level: b[238], generation: le.Uint64(b[160:])}
	if t.level >= maxLevel {
		return tree{}, fmt.Errorf("root tree: %s: level %d: %w", name, t.level, ErrCorrupt)
	}
	return t, nil
}

// named finds a tree by its number.
func (f *FS) named(number uint64, name string) (tree, error) {
	s := f.root.seek(key{number, typeRoot, 0})
	if s.err != nil {
		return tree{}, s.err
	}
	if !s.more(number, typeRoot) {
		return tree{}, fmt.Errorf("root tree: it has no %s: %w", name, ErrCorrupt)
	}
	return f.subtree(name, s.data)
}

// findTree finds the tree of the files.
func (f *FS) findTree() error {
	f.root = tree{f: f, name: "root tree", at: f.sb.root, level: f.sb.rootLevel, generation: f.sb.Generation}
	s := f.root.seek(key{f.sb.rootDir, typeDirItem, 0})
	for ; s.more(f.sb.rootDir, typeDirItem); s.next() {
		list, err := parseNames(s.data)
		if err != nil {
			return fmt.Errorf("root tree: %w", err)
		}
		for _, e := range list {
			if e.base == "default" && e.location.object != fsTree {
				return fmt.Errorf("the default subvolume is %d, only the top one is read: set it with btrfs subvolume set-default 5: %w", e.location.object, ErrUnsupported)
			}
		}
	}
	if s.err != nil {
		return s.err
	}
	var err error
	f.tree, err = f.named(fsTree, "fs tree")
	return err
}
