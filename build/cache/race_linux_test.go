package cache

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An entry may become a FIFO between the look at it and its opening. Nobody ever
// writes to that FIFO.
func TestEntryThatBecomesAFIFODoesNotHang(t *testing.T) {
	dir := t.TempDir()
	c := New(Options{Dir: dir, TempDir: t.TempDir()})
	defer c.Close()
	body := []byte("content")
	if err := put(c, body, AnySize); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(dir, "sha256", strings.TrimPrefix(digestOf(body), "sha256:"))
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var flipping sync.WaitGroup
	flipping.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, entry, unix.AT_FDCWD, fifo, unix.RENAME_EXCHANGE); err != nil {
				t.Error(err)
				return
			}
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3000 {
			r, err := c.Open(digestOf(body), AnySize)
			if err != nil {
				continue // the FIFO, seen as one
			}
			if b, err := io.ReadAll(r); err != nil || string(b) != string(body) {
				t.Errorf("%q, %v", b, err)
			}
			_ = r.Close()
		}
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Error("an opening hangs")
		for _, name := range []string{entry, fifo} { // let it go
			if f, err := os.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0); err == nil {
				defer f.Close()
			}
		}
	}
	close(stop)
	flipping.Wait()
}
