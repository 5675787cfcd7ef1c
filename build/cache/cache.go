package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"syscall"
)

// Errors that callers tell apart.
var (
	ErrMissing = errors.New("not in the cache")
	ErrCorrupt = errors.New("cache entry was corrupt and has been dropped; it will be fetched again")
)

const (
	blobDir = "sha256"
	tempDir = "tmp"

	tempFormat = "fledge-%d-%d.part" // of names in tempDir: the process and a serial number
)

// tempName tells names of tempFormat from what others keep in a folder that they
// called the store.
var tempName = regexp.MustCompile(`^fledge-[0-9]{1,10}-[0-9]{1,10}\.part$`)

// Options says where a [Cache] keeps its content.
type Options struct {
	// Dir is the store, created with mode 0700. "" means none: content is
	// spooled in TempDir and gone when the Cache is closed.
	Dir string
	// TempDir is where content is spooled; "" is the system's default.
	TempDir string
	// Warn, if set, is told why the store could not be used. It may be called
	// from any goroutine.
	Warn func(error)
}

// A Cache is a store of content by digest. It is safe for concurrent use.
type Cache struct {
	root    *os.Root // nil without a usable directory
	tempDir string
	warn    func(error)

	mu      sync.Mutex
	spooled map[string]spooled // by digest: what the store did not take
	corrupt map[string]bool    // digests whose entry in the store must not be used
	serial  int                // for names in tmp
	closed  bool
}

type spooled struct {
	file *os.File
	size int64
}

// New opens the store and sweeps what dead writers left in it. A directory that
// cannot be used is reported to o.Warn, and the Cache works without it.
func New(o Options) *Cache {
	c := &Cache{
		tempDir: o.TempDir,
		warn:    o.Warn,
		spooled: map[string]spooled{},
		corrupt: map[string]bool{},
	}
	if c.warn == nil {
		c.warn = func(error) {}
	}
	if o.Dir == "" {
		return c
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		c.warn(fmt.Errorf("using cache: %w", err))
		return c
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		c.warn(fmt.Errorf("using cache: %w", err))
		return c
	}
	c.root = root
	c.sweep()
	return c
}

// Close ends the use of c and frees what was spooled. Readers and writers that
// are still open fail.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, s := range c.spooled {
		_ = s.file.Close() // anonymous: nothing of it is wanted
	}
	c.spooled = nil
	if c.root == nil {
		return nil
	}
	return c.root.Close()
}

// A Reader yields one entry. It ends with io.EOF only if every byte was right,
// otherwise with an error that wraps [ErrCorrupt].
type Reader struct {
	c      *Cache
	digest string
	size   int64
	verify io.Reader
	file   *os.File // nil when spooled: the Cache owns the file
}

// Open returns the entry of a digest, or an error that wraps [ErrMissing]. An
// entry that has not the given size (unless that is AnySize) counts as missing:
// either may be wrong, and writing the digest anew replaces the entry.
func (c *Cache) Open(digest string, size int64) (*Reader, error) {
	name, err := Hex(digest)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	s, ok := c.spooled[digest]
	bad := c.corrupt[digest]
	c.mu.Unlock()
	if ok {
		return c.reader(digest, size, s.size, io.NewSectionReader(s.file, 0, s.size), nil)
	}
	missing := fmt.Errorf("opening %s: %w", digest, ErrMissing)
	if c.root == nil || bad {
		return nil, missing
	}
	file, got, err := c.openEntry(path.Join(blobDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	if err != nil {
		c.warn(fmt.Errorf("reading cache: %w", err))
		return nil, missing
	}
	return c.reader(digest, size, got, file, file)
}

// openEntry opens a regular file of the store and tells its size. Anything else
// there (a FIFO would block the opener) is an error.
func (c *Cache) openEntry(name string) (*os.File, int64, error) {
	info, err := c.root.Lstat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("opening %s: not a regular file", name)
	}
	// Without O_NONBLOCK a FIFO put here since would be waited for.
	file, err := c.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	if info, err = file.Stat(); err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("opening %s: not a regular file", name)
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

func (c *Cache) reader(digest string, want, got int64, r io.Reader, file *os.File) (*Reader, error) {
	if want != AnySize && want != got {
		if file != nil {
			_ = file.Close()
		}
		return nil, fmt.Errorf("opening %s: entry has %d bytes, want %d: %w", digest, got, want, ErrMissing)
	}
	v, err := Verify(r, digest, got)
	if err != nil {
		return nil, err
	}
	return &Reader{c: c, digest: digest, size: got, verify: v, file: file}, nil
}

// Size is the length of the entry in bytes.
func (r *Reader) Size() int64 { return r.size }

// Read reads the entry and checks it.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.verify.Read(p)
	var mismatch *MismatchError
	if errors.As(err, &mismatch) {
		r.c.drop(r.digest)
		err = fmt.Errorf("reading cached %s: %w: %w", r.digest, ErrCorrupt, err)
	}
	return n, err
}

// Close ends the reading; closing before the end says nothing about the bytes.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// drop removes an entry that is not what its name says, and never serves it
// again even if it cannot be removed.
func (c *Cache) drop(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.spooled[digest]; ok {
		_ = s.file.Close()
		delete(c.spooled, digest)
		return
	}
	c.corrupt[digest] = true
	if c.root == nil || c.closed {
		return
	}
	if err := c.root.Remove(path.Join(blobDir, strings.TrimPrefix(digest, algorithm))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.warn(fmt.Errorf("dropping corrupt cache entry: %w", err))
	}
}

// sweep removes the temporary files whose writers are dead.
func (c *Cache) sweep() {
	dir, err := c.root.Open(tempDir)
	if err != nil {
		return // not there yet
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		c.warn(fmt.Errorf("sweeping cache: %w", err))
		return
	}
	for _, base := range names {
		if !tempName.MatchString(base) {
			continue
		}
		name := path.Join(tempDir, base)
		file, _, err := c.openEntry(name)
		if err != nil {
			continue // gone, or none of ours
		}
		if locked, _ := tryLock(file); locked {
			_ = c.root.Remove(name)
		}
		_ = file.Close()
	}
}
