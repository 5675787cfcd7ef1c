package ext4

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

var errFull = errors.New("no space left on device")

// failingFile fails at one of its calls, and calls a hook at each.
type failingFile struct {
	File
	calls int
	at    int // the call that fails; -1 is none
	hook  func(call int)
}

func (f *failingFile) call() error {
	f.calls++
	if f.hook != nil {
		f.hook(f.calls)
	}
	if f.calls == f.at {
		return errFull
	}
	return nil
}

func (f *failingFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.call(); err != nil {
		return len(p) / 2, err
	}
	return f.File.WriteAt(p, off)
}

func (f *failingFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.call(); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *failingFile) Truncate(size int64) error {
	if err := f.call(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

// everyBlock is a small tree with every kind of block beside data.
func everyBlock(t *testing.T) *tree.Tree {
	tr := tree.New()
	long := strings.Repeat("v", 1000)
	put(t, tr, "link", &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: long})
	put(t, tr, "xattr", &tree.Node{Mode: 0o644, Xattrs: map[string]string{"user.x": long}})
	var fragments []byte
	for range 2 * extentsInRoot {
		fragments = append(append(fragments, bytes.Repeat([]byte{1}, blockSize)...), zeroBlock[:]...)
	}
	put(t, tr, "fragments", &tree.Node{Mode: 0o644, Content: memory(fragments)})
	for i := range 100 {
		put(t, tr, fmt.Sprintf("many/%0200d", i), &tree.Node{Mode: 0o644, Content: memory("y")})
	}
	return tr
}

// writeOnce stores, reads back, gives back and finishes, on f.
func writeOnce(ctx context.Context, t *testing.T, f File) error {
	tr := everyBlock(t)
	w := NewWriter(f)
	size := int64(3<<20 + 1)
	kept, err := w.Store(size, &counter{})
	if err != nil {
		return err
	}
	put(t, tr, "kept", &tree.Node{Mode: 0o644, Content: kept})
	gone, err := w.Store(size, &counter{})
	if err != nil {
		return err
	}
	r, err := gone.Open()
	if err != nil {
		return err
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		return err
	}
	if err := w.Discard(gone); err != nil {
		return err
	}
	if _, err := w.Finish(ctx, tr, Options{Epoch: testEpoch, JournalBytes: MinJournalBytes, FreeBytes: 300 << 20}); err != nil {
		return err
	}
	_, err = w.ReadAt(make([]byte, blockSize), 0)
	return err
}

// TestEveryFaultIsReported lets each access to the file fail once, as a full
// disk does.
func TestEveryFaultIsReported(t *testing.T) {
	good := &failingFile{File: scratch(t), at: -1}
	if err := writeOnce(t.Context(), t, good); err != nil || good.calls < 25 {
		t.Fatalf("%d calls, %v", good.calls, err)
	}
	for at := 1; at <= good.calls; at++ {
		f := &failingFile{File: scratch(t), at: at}
		if err := writeOnce(t.Context(), t, f); !errors.Is(err, errFull) {
			t.Errorf("call %d of %d failed, but the writer says %v", at, good.calls, err)
		}
		if f.calls != at {
			t.Errorf("call %d failed, and %d more followed", at, f.calls-at)
		}
	}
}

// TestFinishStopsWhenCancelled cancels at each access to the file. Not much may
// follow.
func TestFinishStopsWhenCancelled(t *testing.T) {
	good := &failingFile{File: scratch(t), at: -1}
	if err := writeOnce(t.Context(), t, good); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= good.calls; at++ {
		ctx, cancel := context.WithCancel(t.Context())
		f := &failingFile{File: scratch(t), at: -1, hook: func(call int) {
			if call == at {
				cancel()
			}
		}}
		err := writeOnce(ctx, t, f)
		cancel()
		if errors.Is(err, context.Canceled) {
			continue
		}
		// What is left to do is the ends of a few groups.
		if err != nil || good.calls-at > 20 {
			t.Errorf("cancelled at call %d of %d: %v", at, good.calls, err)
		}
	}
}
