package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
)

// A Writer takes the content of one digest. One goroutine writes it and ends it
// with Commit or Abort; any number may read along with [Writer.Follow].
type Writer struct {
	c      *Cache
	digest string
	size   int64
	hash   hash.Hash

	mu        sync.Mutex
	grown     *sync.Cond // n, done or err has changed
	file      *os.File   // where the bytes are
	name      string     // of file below the store, "" when it is spooled
	full      *os.File   // the store's file that ended half-way, kept for followers
	n         int64
	done      bool
	err       error // why the content is unusable; set before done
	followers int
	adopted   bool // the Cache owns file
}

// Create begins the content of a digest, of size bytes or AnySize. It fails only
// for a malformed digest or when neither the store nor TempDir can be written.
func (c *Cache) Create(digest string, size int64) (*Writer, error) {
	if _, err := Hex(digest); err != nil {
		return nil, err
	}
	w := &Writer{c: c, digest: digest, size: size, hash: sha256.New()}
	w.grown = sync.NewCond(&w.mu)
	var err error
	if c.root != nil {
		if w.file, w.name, err = c.createTemp(); err == nil {
			return w, nil
		}
		c.warn(fmt.Errorf("writing cache: %w", err))
	}
	if w.file, err = Spool(c.tempDir); err != nil {
		return nil, err
	}
	return w, nil
}

// createTemp makes a locked file in the store's tmp.
func (c *Cache) createTemp() (*os.File, string, error) {
	for _, dir := range []string{tempDir, blobDir} {
		if err := c.root.MkdirAll(dir, 0o700); err != nil {
			return nil, "", err
		}
	}
	const tries = 10_000 // names taken by other processes with the same number
	for range tries {
		c.mu.Lock()
		c.serial++
		name := path.Join(tempDir, fmt.Sprintf(tempFormat, os.Getpid(), c.serial))
		c.mu.Unlock()
		file, err := c.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		if c.claimed(file, name) {
			return file, name, nil
		}
		_ = file.Close() // a sweeper came between creating and locking
	}
	return nil, "", fmt.Errorf("creating temporary file: %d names are taken", tries)
}

// claimed locks a new temporary file and tells whether it still has its name.
func (c *Cache) claimed(file *os.File, name string) bool {
	if _, held := tryLock(file); held {
		return false
	}
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := c.root.Lstat(name)
	return err == nil && os.SameFile(mine, named)
}

// Write appends p. It refuses what goes past the size. When the store fails
// half-way (disk full), the content moves to TempDir and goes on.
func (w *Writer) Write(p []byte) (int, error) {
	if w.size >= 0 && w.n+int64(len(p)) > w.size {
		return 0, &MismatchError{Digest: w.digest, Size: w.size, Read: w.n + int64(len(p))}
	}
	w.hash.Write(p)
	n, err := w.file.WriteAt(p, w.n)
	if err != nil && w.name != "" {
		if err = w.leaveStore(err); err == nil {
			n, err = w.file.WriteAt(p, w.n)
		}
	}
	w.mu.Lock()
	w.n += int64(n)
	w.grown.Broadcast()
	w.mu.Unlock()
	return n, err
}

// leaveStore goes on in TempDir after the store could not take more.
func (w *Writer) leaveStore(why error) error {
	w.c.warn(fmt.Errorf("writing cache: %w", why))
	spool, err := Spool(w.c.tempDir)
	if err != nil {
		return err
	}
	if _, err := io.Copy(spool, io.NewSectionReader(w.file, 0, w.n)); err != nil {
		_ = spool.Close()
		return fmt.Errorf("writing temporary file: %w", err)
	}
	_ = w.c.root.Remove(w.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.full, w.file, w.name = w.file, spool, ""
	return nil
}

// Commit checks the content and puts it in the store, or keeps it until the
// Cache is closed. On error nothing is kept. The Writer is ended either way.
func (w *Writer) Commit() error {
	if err := check(w.hash, w.digest, w.size, w.n); err != nil {
		w.Abort(err)
		return err
	}
	if w.name != "" {
		final := path.Join(blobDir, strings.TrimPrefix(w.digest, algorithm))
		if err := w.c.root.Rename(w.name, final); err != nil {
			w.c.warn(fmt.Errorf("writing cache: %w", err))
			_ = w.c.root.Remove(w.name)
			w.name = ""
		}
	}
	w.adopted = w.c.adopt(w)
	w.end(nil)
	return nil
}

// adopt records that w's content is good, and takes the file if it is spooled.
func (c *Cache) adopt(w *Writer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.name != "" {
		delete(c.corrupt, w.digest)
		return false
	}
	if _, ok := c.spooled[w.digest]; ok || c.closed {
		return false
	}
	c.spooled[w.digest] = spooled{file: w.file, size: w.n}
	return true
}

// Abort drops the content; followers fail with err. After Commit it does
// nothing, so it may be deferred.
func (w *Writer) Abort(err error) {
	w.mu.Lock()
	done := w.done
	w.mu.Unlock()
	if done {
		return
	}
	if w.name != "" {
		_ = w.c.root.Remove(w.name)
	}
	if err == nil {
		err = errors.New("writing was given up")
	}
	w.end(err)
}

func (w *Writer) end(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done, w.err = true, err
	w.grown.Broadcast()
	w.release()
}

// release closes the files once nobody needs them. w.mu is held.
func (w *Writer) release() {
	if !w.done || w.followers > 0 {
		return
	}
	if w.full != nil {
		_ = w.full.Close()
		w.full = nil
	}
	if w.file != nil && !w.adopted {
		_ = w.file.Close()
	}
	w.file = nil
}

// Follow returns a reader of the content from its start, which waits for bytes
// still to be written. It ends with io.EOF only after a successful Commit, so
// what it handed out was verified; after Abort it fails with that error. Its
// Read returns early when ctx ends. Follow must be called before the Writer is
// ended or it returns nil.
func (w *Writer) Follow(ctx context.Context) io.ReadCloser {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil
	}
	w.followers++
	f := &follower{w: w, ended: ctx.Err}
	f.unhook = context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.grown.Broadcast()
	})
	return f
}

type follower struct {
	w      *Writer
	off    int64
	ended  func() error // the context's
	unhook func() bool
	once   sync.Once
}

func (f *follower) Read(p []byte) (int, error) {
	file, n, err := f.wait(int64(len(p)))
	if err != nil || n == 0 {
		return 0, err
	}
	read, err := file.ReadAt(p[:n], f.off)
	f.off += int64(read)
	if int64(read) == n {
		return read, nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return read, fmt.Errorf("reading %s while it is written: %w", f.w.digest, err)
}

// wait returns the file and how many bytes of it, at most limit, can be read at
// the follower's offset.
func (f *follower) wait(limit int64) (*os.File, int64, error) {
	w := f.w
	w.mu.Lock()
	defer w.mu.Unlock()
	for limit > 0 && w.n == f.off && !w.done && f.ended() == nil {
		w.grown.Wait()
	}
	switch {
	case f.ended() != nil:
		return nil, 0, f.ended()
	case w.err != nil:
		return nil, 0, w.err
	case w.n == f.off && w.done:
		return nil, 0, io.EOF
	}
	return w.file, min(limit, w.n-f.off), nil
}

func (f *follower) Close() error {
	f.once.Do(func() {
		f.unhook()
		f.w.mu.Lock()
		defer f.w.mu.Unlock()
		f.w.followers--
		f.w.release()
	})
	return nil
}
