package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/tree"
)

// filler writes a tree to a mounted filesystem that is empty and that nobody else sees.
// Every name is given to the kernel as one component below an open folder, and none is
// followed. At most a few descriptors are open at a time, however deep the tree is.
type filler struct {
	*writer
	root  int
	first map[*tree.Node]string // of inodes with several names, the one that was made
	buf   []byte
	done  int64 // bytes of content
}

// fill writes the tree below root.
func (w *writer) fill(ctx context.Context, root *os.File, t *tree.Tree) error {
	f := &filler{writer: w, root: int(root.Fd()), first: map[*tree.Node]string{}, buf: make([]byte, bufferSize)}
	return f.dir(ctx, ".", t.Root())
}

// dir fills a directory, which is there, and then makes it what it is to be: a default
// ACL or a set-group-ID bit would reach what is made in it, and its time would change.
func (f *filler) dir(ctx context.Context, name string, n *tree.Node) error {
	if err := f.entries(ctx, name, n); err != nil {
		return err
	}
	for base, c := range n.Children() {
		if c.Mode.IsDir() {
			if err := f.dir(ctx, path.Join(name, base), c); err != nil {
				return err
			}
		}
	}
	fd, err := f.open(name)
	if err != nil {
		return failed(name, "open", err)
	}
	defer unix.Close(fd)
	return f.finish(place{name: name, fd: fd}, n)
}

// entries makes everything in a directory; folders stay empty.
func (f *filler) entries(ctx context.Context, name string, n *tree.Node) error {
	if n.Len() == 0 {
		return nil
	}
	dir, err := f.open(name)
	if err != nil {
		return failed(name, "open", err)
	}
	defer unix.Close(dir)
	for base, c := range n.Children() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.entry(ctx, place{name: path.Join(name, base), dir: dir, base: base, fd: -1}, c); err != nil {
			return err
		}
	}
	return nil
}

// open opens a directory below the root, component by component.
func (f *filler) open(name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	at := f.root
	for base := range strings.SplitSeq(name, "/") {
		fd, err := unix.Openat(at, base, flags, 0)
		if at != f.root {
			unix.Close(at)
		}
		if err != nil {
			return -1, err
		}
		at = fd
	}
	return at, nil
}

// place is where an inode is: a component of an open directory, and its own descriptor if
// it has one.
type place struct {
	name string // in the image
	dir  int
	base string
	fd   int // -1 without
}

// failed names what the kernel refused.
func failed(name, call string, err error) error {
	if errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("writing %q: %s: %w (%w)", "/"+name, call, errFull, err)
	}
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("writing %q: %s: %w; this process lacks the capability: run as root with CAP_SYS_ADMIN and CAP_MKNOD, or remove it from the image", "/"+name, call, err)
	}
	return fmt.Errorf("writing %q: %s: %w", "/"+name, call, err)
}

// entry makes one name.
func (f *filler) entry(ctx context.Context, p place, n *tree.Node) error {
	if n.Links() > 1 {
		if first, ok := f.first[n]; ok {
			return f.link(first, p)
		}
		f.first[n] = p.name
	}
	mode := tree.UnixMode(n.Mode)
	var err error
	switch n.Mode.Type() {
	case fs.ModeDir:
		if err := unix.Mkdirat(p.dir, p.base, 0o700); err != nil {
			return failed(p.name, "mkdir", err)
		}
		return nil // finished when it is full
	case fs.ModeSymlink:
		if err = unix.Symlinkat(n.Target, p.dir, p.base); err != nil {
			err = failed(p.name, "symlink", err)
		}
	case 0:
		return f.file(ctx, p, n)
	default:
		if err = unix.Mknodat(p.dir, p.base, mode&unix.S_IFMT|0o600, int(unix.Mkdev(n.Rdev.Major, n.Rdev.Minor))); err != nil {
			err = failed(p.name, "mknod", err)
		}
	}
	if err != nil {
		return err
	}
	return f.finish(p, n)
}

// link gives an inode another name.
func (f *filler) link(first string, p place) error {
	dir, err := f.open(path.Dir(first))
	if err != nil {
		return failed(first, "open", err)
	}
	defer unix.Close(dir)
	if err := unix.Linkat(dir, path.Base(first), p.dir, p.base, 0); err != nil {
		return failed(p.name, "link", err)
	}
	return nil
}

// file makes a regular file.
func (f *filler) file(ctx context.Context, p place, n *tree.Node) error {
	fd, err := unix.Openat(p.dir, p.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return failed(p.name, "create", err)
	}
	file := os.NewFile(uintptr(fd), p.name)
	defer file.Close()
	if err := f.content(ctx, file, n); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return failed(p.name, "write", err)
	}
	p.fd = fd
	if err := f.finish(p, n); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return failed(p.name, "close", err)
	}
	return nil
}

// content writes a file's bytes. Blocks of zeros stay holes: the file has its size before
// anything is written, so that the kernel allocates nothing ahead.
func (f *filler) content(ctx context.Context, file *os.File, n *tree.Node) error {
	size := n.Size()
	if size == 0 {
		return nil
	}
	r, err := n.Content.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := file.Truncate(size); err != nil {
		return err
	}
	before := f.done
	err = eachRun(ctx, r, size, f.buf, func(data []byte, at int64) error {
		_, err := file.WriteAt(data, at)
		f.progress(before + at + int64(len(data)))
		return err
	})
	f.progress(before + size)
	return err
}

func (f *filler) progress(done int64) {
	f.done = done
	if f.opt.Progress != nil {
		f.opt.Progress(done, f.need.content)
	}
}

// finish gives an inode its metadata. The order matters: a change of owner clears the
// set-user-ID bits and the file capability, and everything changes the time.
func (f *filler) finish(p place, n *tree.Node) error {
	if err := p.chown(int(n.UID), int(n.GID)); err != nil {
		return failed(p.name, "chown", err)
	}
	if n.Mode.Type() != fs.ModeSymlink {
		if err := p.chmod(tree.UnixMode(n.Mode) & 0o7777); err != nil {
			return failed(p.name, "chmod", err)
		}
	}
	for _, x := range slices.Sorted(maps.Keys(n.Xattrs)) {
		if !knownXattr(x) || !keepsXattr(n, x) {
			continue
		}
		if err := p.setxattr(x, []byte(n.Xattrs[x])); err != nil {
			return failed(p.name, "xattr "+x, err)
		}
	}
	if _, ok := n.Xattrs[aclAccess]; ok {
		if err := f.checkMode(p, n); err != nil {
			return err
		}
	}
	mtime, err := unix.TimeToTimespec(n.ModTime)
	if err == nil {
		err = p.utimes([]unix.Timespec{mtime, mtime})
	}
	if err != nil {
		return failed(p.name, "utimes", err)
	}
	return nil
}

// checkMode tells of an ACL that says something else than the mode: to the kernel they
// are one thing.
func (f *filler) checkMode(p place, n *tree.Node) error {
	want := tree.UnixMode(n.Mode) & 0o7777
	got, err := p.mode()
	if err != nil {
		return failed(p.name, "stat", err)
	}
	if got != want {
		f.warn("%q has mode %#o, not %#o: its ACL says so", "/"+p.name, got, want)
	}
	return nil
}

func (p place) chown(uid, gid int) error {
	if p.fd >= 0 {
		return unix.Fchown(p.fd, uid, gid)
	}
	return unix.Fchownat(p.dir, p.base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// chmod is not for symlinks.
func (p place) chmod(mode uint32) error {
	if p.fd >= 0 {
		return unix.Fchmod(p.fd, mode)
	}
	return unix.Fchmodat(p.dir, p.base, mode, 0)
}

func (p place) setxattr(name string, value []byte) error {
	if p.fd >= 0 {
		return unix.Fsetxattr(p.fd, name, value, 0)
	}
	return unix.Lsetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", p.dir, p.base), name, value, 0)
}

func (p place) utimes(ts []unix.Timespec) error {
	if p.base == "" {
		return unix.UtimesNanoAt(p.fd, ".", ts, 0)
	}
	return unix.UtimesNanoAt(p.dir, p.base, ts, unix.AT_SYMLINK_NOFOLLOW)
}

func (p place) mode() (uint32, error) {
	var st unix.Stat_t
	var err error
	if p.fd >= 0 {
		err = unix.Fstat(p.fd, &st)
	} else {
		err = unix.Fstatat(p.dir, p.base, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	return st.Mode & 0o7777, err
}

// fitrim is FITRIM of linux/fs.h. Where it has another number nothing is discarded.
const fitrim = 0xc0185879

// settle writes everything to the image, makes holes in it of what is free again, and
// returns what root can write.
func settle(root *os.File) (int64, error) {
	fd := int(root.Fd())
	if err := unix.Syncfs(fd); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			return 0, fmt.Errorf("writing the filesystem: %w (%w)", errFull, err)
		}
		return 0, fmt.Errorf("writing the filesystem: %w", err)
	}
	all := struct{ start, length, least uint64 }{length: ^uint64(0)}
	// A failure leaves bytes in the image that nothing refers to.
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fitrim, uintptr(unsafe.Pointer(&all)))
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return 0, fmt.Errorf("asking for the free space: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// explainHost tells when it is not the image that is full but the disk below it.
func (w *writer) explainHost(err error) error {
	var st unix.Statfs_t
	if e := unix.Fstatfs(int(w.image.Fd()), &st); e != nil || st.Bavail*uint64(st.Bsize) >= hostFull {
		return err
	}
	return fmt.Errorf("%w; the disk of the output is full: free space there, or choose another folder", withoutFull(err))
}

// hostFull is the free space from which on a disk is not full, in bytes.
const hostFull = 1 << 20

// withoutFull keeps an error's text, but is no errFull: a larger image would not help.
func withoutFull(err error) error {
	if errors.Is(err, errFull) {
		return fmt.Errorf("%v: %w", err, unix.ENOSPC)
	}
	return err
}
