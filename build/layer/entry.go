package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/volant/fledge-action/build/tree"
)

type kind uint8

const (
	kindNode     kind = iota // a file, directory, link, device or FIFO
	kindHardLink             // another name for link
	kindWhiteout             // name is removed from the layers below
	kindOpaque               // everything in name is removed from the layers below
)

// entry is one entry of a layer's tar. What the format allows and an image must
// not hold has been refused.
type entry struct {
	kind kind
	name string     // in the form of package tree
	node *tree.Node // kindNode only
	link string     // kindHardLink only, in the same form
}

func (e entry) metadataBytes() int64 {
	n := len(e.name) + len(e.link)
	if e.node != nil {
		n += len(e.node.Target)
		for k, v := range e.node.Xattrs {
			n += len(k) + len(v) + xattrOverhead
		}
	}
	return int64(n)
}

const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // AUFS's own bookkeeping, never part of an image
	xattrPrefix    = "SCHILY.xattr."

	xattrOverhead = 64 // what an xattr costs in memory beside its bytes, in bytes

	maxID = 1<<32 - 2 // the highest owner; 2^32-1 means "nobody at all" to chown
)

// scan reads layer i and calls fn for each entry with its size and bytes. It
// reads to the end of the stream, which is where a wrong digest shows.
func (f *flattener) scan(ctx context.Context, i int, fn func(i int, e entry, size int64, r io.Reader) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("applying layer %s: %w", f.layers[i].Digest, err)
		}
	}()
	stream, err := f.layers[i].Open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := stream.Close(); err == nil {
			err = e
		}
	}()
	raw := metered{f, stream}
	tr := tar.NewReader(raw)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading tar: %w", err)
		}
		e, ok, err := parse(hdr)
		if err == nil && ok {
			err = fn(i, e, hdr.Size, contextReader{ctx, tr})
		}
		if err != nil {
			return fmt.Errorf("entry %s: %w", quoted(hdr.Name), err)
		}
	}
	_, err = io.Copy(io.Discard, contextReader{ctx, raw})
	return err
}

// contextReader ends when its context does. The holes of a sparse file are read
// without touching the stream below.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// quoted shows a hostile name in a message.
func quoted(name string) string {
	const most = 200
	if len(name) > most {
		return fmt.Sprintf("%q... (%d bytes)", name[:most], len(name))
	}
	return fmt.Sprintf("%q", name)
}

// parse turns a tar header into an entry. ok is false for what is not part of
// the filesystem.
func parse(hdr *tar.Header) (e entry, ok bool, err error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return entry{}, false, nil
	}
	name := clean(hdr.Name)
	dir, base := split(name)
	limited := name
	if strings.HasPrefix(base, whiteoutPrefix) {
		limited = dir // the prefix comes on top of a name that may have full length
	}
	if err := tree.CheckName(limited); err != nil {
		return entry{}, false, err
	}
	switch {
	case strings.HasPrefix(name, aufsPrefix) && base != opaqueName, strings.Contains(name, "/"+aufsPrefix) && base != opaqueName:
		return entry{}, false, nil
	case base == opaqueName:
		return entry{kind: kindOpaque, name: dir}, true, nil
	case strings.HasPrefix(base, whiteoutPrefix):
		return parseWhiteout(dir, base)
	case hdr.Typeflag == tar.TypeLink:
		link, err := cleanName(hdr.Linkname)
		if err != nil {
			return entry{}, false, fmt.Errorf("hard link target %s: %w", quoted(hdr.Linkname), err)
		}
		return entry{kind: kindHardLink, name: name, link: link}, true, nil
	}
	n, err := parseNode(hdr)
	if err == nil && name == "." && !n.Mode.IsDir() {
		err = fmt.Errorf("%w: the root must be a directory", tree.ErrName)
	}
	return entry{kind: kindNode, name: name, node: n}, true, err
}

func parseWhiteout(dir, base string) (entry, bool, error) {
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	if hidden == "" || hidden == "." || hidden == ".." {
		return entry{}, false, fmt.Errorf("%w: a whiteout of %q", tree.ErrName, hidden)
	}
	name := join(dir, hidden)
	return entry{kind: kindWhiteout, name: name}, true, tree.CheckName(name)
}

// parseNode makes the inode that a header describes, without content. Strings
// are copied: those of hdr are parts of a block of up to 1 MiB.
func parseNode(hdr *tar.Header) (*tree.Node, error) {
	mode, err := nodeMode(hdr)
	if err != nil {
		return nil, err
	}
	if hdr.Uid < 0 || hdr.Uid > maxID || hdr.Gid < 0 || hdr.Gid > maxID {
		return nil, fmt.Errorf("owner %d:%d: the limits are 0 and %d", hdr.Uid, hdr.Gid, int64(maxID))
	}
	n := &tree.Node{Mode: mode, UID: uint32(hdr.Uid), GID: uint32(hdr.Gid), ModTime: hdr.ModTime}
	switch {
	case mode&fs.ModeSymlink != 0:
		if hdr.Linkname == "" || len(hdr.Linkname) > tree.MaxName {
			return nil, fmt.Errorf("a symbolic link with a target of %d bytes: the limits are 1 and %d", len(hdr.Linkname), tree.MaxName)
		}
		if strings.IndexByte(hdr.Linkname, 0) >= 0 {
			return nil, errors.New("a symbolic link whose target holds a NUL byte")
		}
		n.Target = strings.Clone(hdr.Linkname)
	case mode&fs.ModeDevice != 0:
		if hdr.Devmajor < 0 || hdr.Devmajor > 1<<32-1 || hdr.Devminor < 0 || hdr.Devminor > 1<<32-1 {
			return nil, fmt.Errorf("device number %d:%d: the limits are 0 and 2^32-1", hdr.Devmajor, hdr.Devminor)
		}
		n.Rdev = tree.Rdev{Major: uint32(hdr.Devmajor), Minor: uint32(hdr.Devminor)}
	}
	for key, value := range hdr.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrPrefix); ok && name != "" {
			if n.Xattrs == nil {
				n.Xattrs = map[string]string{}
			}
			n.Xattrs[strings.Clone(name)] = strings.Clone(value)
		}
	}
	return n, nil
}

func nodeMode(hdr *tar.Header) (fs.FileMode, error) {
	mode := fs.FileMode(hdr.Mode & 0o777)
	for _, bit := range []struct {
		unix int64
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if hdr.Mode&bit.unix != 0 {
			mode |= bit.mode
		}
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return mode, nil
	case tar.TypeDir:
		return mode | fs.ModeDir, nil
	case tar.TypeSymlink:
		return mode | fs.ModeSymlink, nil
	case tar.TypeChar:
		return mode | fs.ModeDevice | fs.ModeCharDevice, nil
	case tar.TypeBlock:
		return mode | fs.ModeDevice, nil
	case tar.TypeFifo:
		return mode | fs.ModeNamedPipe, nil
	}
	return 0, fmt.Errorf("tar entry type %q is not part of a filesystem", hdr.Typeflag)
}

// cleanName brings a tar name into the form of package tree. ".." is refused
// wherever it stands.
func cleanName(raw string) (string, error) {
	name := clean(raw)
	return name, tree.CheckName(name)
}

// clean drops what are mere spellings in a tar name: "./", "/", "//" and a
// trailing slash. The result is a copy; see parseNode.
func clean(raw string) string {
	var parts []string
	for part := range strings.SplitSeq(raw, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	if parts == nil {
		return "."
	}
	return strings.Clone(strings.Join(parts, "/"))
}

// split cuts a name into its directory ("." for none) and its last component.
func split(name string) (dir, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return ".", name
}

func join(dir, base string) string {
	if dir == "." {
		return base
	}
	return dir + "/" + base
}
