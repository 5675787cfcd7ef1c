package cache

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func digestOf(b []byte) string {
	h := sha256.New()
	h.Write(b)
	return DigestOf(h)
}

// noWarnings makes a cache that must not warn.
func noWarnings(t testing.TB, dir string) *Cache {
	t.Helper()
	c := New(Options{Dir: dir, TempDir: t.TempDir(), Warn: func(err error) { t.Errorf("warning: %v", err) }})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func put(c *Cache, b []byte, size int64) error {
	w, err := c.Create(digestOf(b), size)
	if err != nil {
		return err
	}
	defer w.Abort(nil)
	for i := 0; i < len(b); i += 1000 {
		if _, err := w.Write(b[i:min(i+1000, len(b))]); err != nil {
			return err
		}
	}
	return w.Commit()
}

func get(c *Cache, digest string, size int64) ([]byte, error) {
	r, err := c.Open(digest, size)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestContentComesBack(t *testing.T) {
	body := bytes.Repeat([]byte("content "), 5000)
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "deep", "cache")} {
		c := noWarnings(t, dir)
		if _, err := get(c, digestOf(body), AnySize); !errors.Is(err, ErrMissing) {
			t.Errorf("dir %q: empty cache: %v", dir, err)
		}
		for range 2 { // twice does no harm
			if err := put(c, body, int64(len(body))); err != nil {
				t.Fatal(err)
			}
		}
		for _, size := range []int64{AnySize, int64(len(body))} {
			if b, err := get(c, digestOf(body), size); err != nil || !bytes.Equal(b, body) {
				t.Errorf("dir %q: %d bytes, %v", dir, len(b), err)
			}
		}
		if _, err := get(c, digestOf(body), 7); !errors.Is(err, ErrMissing) {
			t.Errorf("dir %q: wrong size: %v", dir, err)
		}
		if err := put(c, nil, 0); err != nil {
			t.Errorf("empty content: %v", err)
		}
		if b, err := get(c, digestOf(nil), 0); err != nil || len(b) != 0 {
			t.Errorf("empty content: %d bytes, %v", len(b), err)
		}
	}
}

func TestStoreIsPrivateAndLaidOutByDigest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	c := noWarnings(t, dir)
	if err := put(c, []byte("abc"), AnySize); err != nil {
		t.Fatal(err)
	}
	want := filepath.Join("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
	if got := files(t, dir); len(got) != 1 || got[0] != want {
		t.Errorf("files %q, want %q", got, want)
	}
	for _, name := range []string{"", "sha256", "tmp", want} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestWrongContentIsNotKept(t *testing.T) {
	body := []byte("what it should be")
	for _, dir := range []string{"", t.TempDir()} {
		c := noWarnings(t, dir)
		tests := map[string]struct {
			size    int64
			content string
		}{
			"other bytes": {int64(len(body)), "what it should bE"},
			"too short":   {int64(len(body)), "what"},
			"too long":    {int64(len(body)), string(body) + "!"},
			"small size":  {5, string(body)},
			"large size":  {int64(len(body)) + 1, string(body)},
			"no size":     {AnySize, "something else"},
		}
		for name, test := range tests {
			w, err := c.Create(digestOf(body), test.size)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write([]byte(test.content))
			if err == nil {
				err = w.Commit()
			}
			w.Abort(nil)
			if !errors.Is(err, ErrMismatch) {
				t.Errorf("%s: %v, want ErrMismatch", name, err)
			}
			if _, err := get(c, digestOf(body), AnySize); !errors.Is(err, ErrMissing) {
				t.Errorf("%s: %v, want ErrMissing", name, err)
			}
			if test.size >= 0 && w.n > test.size {
				t.Errorf("%s: %d bytes were written", name, w.n)
			}
		}
		if dir != "" && len(files(t, dir)) != 0 {
			t.Errorf("left behind: %q", files(t, dir))
		}
	}
}

func TestDamagedEntryIsDroppedAndWrittenAnew(t *testing.T) {
	body := bytes.Repeat([]byte("content "), 5000)
	flip := append([]byte(nil), body...)
	flip[len(flip)/2] ^= 1
	for name, bad := range map[string][]byte{"flipped bit": flip, "truncated": body[:100], "empty": {}, "longer": append(body[:len(body):len(body)], 0)} {
		dir := t.TempDir()
		c := noWarnings(t, dir)
		if err := put(c, body, AnySize); err != nil {
			t.Fatal(err)
		}
		entry := filepath.Join(dir, "sha256", strings.TrimPrefix(digestOf(body), "sha256:"))
		if err := os.WriteFile(entry, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := get(c, digestOf(body), AnySize); !errors.Is(err, ErrCorrupt) || !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: %v, want ErrCorrupt", name, err)
		}
		if _, err := os.Stat(entry); !os.IsNotExist(err) {
			t.Errorf("%s: the entry is still there: %v", name, err)
		}
		if _, err := get(c, digestOf(body), AnySize); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: afterwards: %v, want ErrMissing", name, err)
		}
		if err := os.WriteFile(entry, bad, 0o600); err != nil { // as if it could not be removed
			t.Fatal(err)
		}
		if _, err := get(c, digestOf(body), AnySize); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: once known to be bad: %v, want ErrMissing", name, err)
		}
		if err := put(c, body, AnySize); err != nil {
			t.Fatal(err)
		}
		if b, err := get(c, digestOf(body), AnySize); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s: written anew: %v", name, err)
		}
	}
}

func TestEntryThatIsNoFileIsMissing(t *testing.T) {
	dir := t.TempDir()
	var warned int
	c := New(Options{Dir: dir, Warn: func(error) { warned++ }})
	defer c.Close()
	if err := put(c, []byte("x"), AnySize); err != nil {
		t.Fatal(err)
	}
	entry := filepath.Join(dir, "sha256", strings.TrimPrefix(digestOf([]byte("x")), "sha256:"))
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() error{
		"fifo":    func() error { return syscall.Mkfifo(entry, 0o600) },
		"symlink": func() error { return os.Symlink(secret, entry) },
		"folder":  func() error { return os.Mkdir(entry, 0o700) },
	} {
		if err := os.RemoveAll(entry); err != nil {
			t.Fatal(err)
		}
		if err := make(); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Open(digestOf([]byte("x")), AnySize); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if warned != 3 {
		t.Errorf("%d warnings, want 3", warned)
	}
}

func TestMalformedDigests(t *testing.T) {
	c := noWarnings(t, t.TempDir())
	for _, digest := range []string{"", "sha256:", "sha256:12", "sha512:" + strings.Repeat("0", 128), "sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("../", 22)[:64]} {
		if _, err := c.Open(digest, AnySize); err == nil || errors.Is(err, ErrMissing) {
			t.Errorf("Open(%q): %v", digest, err)
		}
		if _, err := c.Create(digest, AnySize); err == nil {
			t.Errorf("Create(%q) succeeds", digest)
		}
		if _, err := Verify(nil, digest, AnySize); err == nil {
			t.Errorf("Verify(%q) succeeds", digest)
		}
	}
}

func TestVerifyHandsOutNoByteTooMany(t *testing.T) {
	body := "0123456789"
	long, err := Verify(strings.NewReader(body), digestOf([]byte(body)), 11)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(long); !errors.Is(err, ErrMismatch) || err.Error() != "content of "+digestOf([]byte(body))+" ends after 10 of 11 bytes" {
		t.Errorf("right bytes, wrong size: %v", err)
	}
	for size := range int64(10) {
		r, err := Verify(strings.NewReader(body), digestOf([]byte(body)), size)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if string(b) != body[:size] || !errors.Is(err, ErrMismatch) {
			t.Errorf("size %d: %q, %v", size, b, err)
		}
	}
}

func TestCacheThatCannotBeWrittenSpools(t *testing.T) {
	if os.Getuid() == 0 {
		// Root may write anywhere: a file in the place of a folder stops even it.
		t.Log("running as root")
	}
	body := []byte("content")
	for name, block := range map[string]func(dir string) error{
		"the folder is a file": func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"tmp is a file": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "tmp"), nil, 0o600))
		},
		"sha256 is a file": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "sha256"), nil, 0o600))
		},
		"the entry is a folder": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "sha256", strings.TrimPrefix(digestOf(body), "sha256:"), "x"), 0o700)
		},
	} {
		dir, temp := filepath.Join(t.TempDir(), "cache"), t.TempDir()
		if err := block(dir); err != nil {
			t.Fatal(err)
		}
		warned := 0
		c := New(Options{Dir: dir, TempDir: temp, Warn: func(error) { warned++ }})
		if err := put(c, body, AnySize); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if b, err := get(c, digestOf(body), AnySize); err != nil || !bytes.Equal(b, body) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if warned == 0 {
			t.Errorf("%s: no warning", name)
		}
		if got := files(t, temp); len(got) != 0 {
			t.Errorf("%s: named temporary files %q", name, got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStoreThatFillsUpSpoolsTheRest(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 1000)
	var warned []error
	dir := t.TempDir()
	c := New(Options{Dir: dir, TempDir: t.TempDir(), Warn: func(err error) { warned = append(warned, err) }})
	defer c.Close()
	w, err := c.Create(digestOf(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	f := w.Follow(t.Context())
	defer f.Close()
	if _, err := w.Write(body[:5000]); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 3000)
	if _, err := io.ReadFull(f, first); err != nil {
		t.Fatal(err)
	}
	// A descriptor that cannot be written stands for a full disk.
	ro, err := os.Open(filepath.Join(dir, w.name))
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	_ = w.file.Close()
	w.file = ro
	w.mu.Unlock()
	if _, err := w.Write(body[5000:]); err != nil {
		t.Fatalf("writing on: %v", err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(f)
	if err != nil || !bytes.Equal(append(first, rest...), body) {
		t.Errorf("follower: %d bytes, %v", len(first)+len(rest), err)
	}
	if b, err := get(c, digestOf(body), AnySize); err != nil || !bytes.Equal(b, body) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if len(warned) != 1 || len(files(t, dir)) != 0 {
		t.Errorf("warnings %v, files %q", warned, files(t, dir))
	}
}

func TestFollowersReadAlong(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	for _, dir := range []string{"", t.TempDir()} {
		c := noWarnings(t, dir)
		w, err := c.Create(digestOf(body), int64(len(body)))
		if err != nil {
			t.Fatal(err)
		}
		var readers sync.WaitGroup
		for range 8 {
			f := w.Follow(t.Context())
			readers.Go(func() {
				b, err := io.ReadAll(f)
				if err != nil || !bytes.Equal(b, body) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				_ = f.Close()
			})
		}
		for i := 0; i < len(body); i += 10_000 {
			if _, err := w.Write(body[i:min(i+10_000, len(body))]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		readers.Wait()
		if w.Follow(t.Context()) != nil {
			t.Error("an ended Writer can be followed")
		}
		if dir != "" && w.file != nil {
			t.Error("the file is open after the last follower left")
		}
	}
}

func TestFollowerIsWokenByEveryWrite(t *testing.T) {
	c := noWarnings(t, t.TempDir())
	w, err := c.Create(digestOf([]byte("x")), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(nil)
	f := w.Follow(t.Context())
	defer f.Close()
	read := make(chan error)
	go func() {
		_, err := f.Read(make([]byte, 1))
		read <- err
	}()
	time.Sleep(20 * time.Millisecond) // until it waits
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-read:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the follower still waits after a write")
	}
}

func TestFollowersAreToldOfFailure(t *testing.T) {
	c := noWarnings(t, t.TempDir())
	w, err := c.Create(digestOf([]byte("x")), 1)
	if err != nil {
		t.Fatal(err)
	}
	f, g := w.Follow(t.Context()), w.Follow(t.Context())
	defer f.Close()
	defer g.Close()
	if _, err := w.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); !errors.Is(err, ErrMismatch) {
		t.Errorf("Commit: %v", err)
	}
	if b, err := io.ReadAll(f); len(b) != 0 || !errors.Is(err, ErrMismatch) {
		t.Errorf("follower: %q, %v, want nothing of what was wrong", b, err)
	}
}

func TestFollowerEndsWithItsContext(t *testing.T) {
	c := noWarnings(t, t.TempDir())
	w, err := c.Create(digestOf([]byte("x")), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort(nil)
	ctx, cancel := context.WithCancel(t.Context())
	f := w.Follow(ctx)
	defer f.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestManyWritersOfOneDigest(t *testing.T) {
	body := bytes.Repeat([]byte("content "), 50_000)
	dir := t.TempDir()
	var writers sync.WaitGroup
	for range 3 {
		c := noWarnings(t, dir)
		for range 8 {
			writers.Go(func() {
				if err := put(c, body, int64(len(body))); err != nil {
					t.Error(err)
				}
				if b, err := get(c, digestOf(body), AnySize); err != nil || !bytes.Equal(b, body) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
	}
	writers.Wait()
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("files %q", got)
	}
}

// The test binary run again with this variable works on a cache as another
// process would.
const childVar = "CACHE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childVar) {
	case "":
		os.Exit(m.Run())
	case "hang": // write half, say so, and wait to be killed
		c := New(Options{Dir: os.Args[1]})
		w, err := c.Create(digestOf([]byte("never")), AnySize)
		if err == nil {
			_, err = w.Write([]byte("ne"))
		}
		fmt.Println("half", err)
		_, _ = io.ReadAll(os.Stdin)
	case "work":
		c := New(Options{Dir: os.Args[1], Warn: func(err error) { fmt.Println("warning:", err) }})
		for i := range 200 {
			body := bytes.Repeat([]byte{byte(i)}, 10_000)
			if err := put(c, body, AnySize); err != nil {
				fmt.Println(err)
			}
			if b, err := get(c, digestOf(body), AnySize); err != nil || !bytes.Equal(b, body) {
				fmt.Println("reading:", err)
			}
		}
	}
}

func child(t *testing.T, mode, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childVar+"="+mode)
	return cmd
}

func TestProcessesShareAStore(t *testing.T) {
	dir := t.TempDir()
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			if out, err := child(t, "work", dir).CombinedOutput(); err != nil || len(out) != 0 {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	workers.Wait()
	if got := files(t, dir); len(got) != 200 {
		t.Errorf("%d files, want 200", len(got))
	}
}

func TestKilledWritersFileIsSweptLater(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skipf("SKIP: no flock on %s", runtime.GOOS)
	}
	dir := t.TempDir()
	cmd := child(t, "hang", dir)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "half <nil>\n" {
		t.Errorf("child says %q", line)
	}
	noWarnings(t, dir)
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("while the writer lives: files %q, want its own", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	noWarnings(t, dir)
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("after it was killed: files %q", got)
	}
}

func TestSpoolHasNoName(t *testing.T) {
	dir := t.TempDir()
	f, err := Spool(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Error(err)
	}
	if got := files(t, dir); len(got) != 0 {
		t.Errorf("files %q", got)
	}
	if _, err := Spool(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a spool in a folder that is not there succeeds")
	}
}

// A store may share its folder with others: --cache-dir / would make /tmp the
// store's own.
func TestSweepRemovesNothingButAStoresOwn(t *testing.T) {
	dir := t.TempDir()
	names := []string{"x", "123-4", "fledge-1-2", "fledge-1-2.part.txt", "fledge--1.part", "fledge-1-.part", "fledge-1-x.part", "xfledge-1-2.part", "fledge-1234567890123-1.part"}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "fledge-1-2.part") {
		if err := os.WriteFile(filepath.Join(dir, "tmp", name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	noWarnings(t, dir)
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, "tmp", name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp", "fledge-1-2.part")); err == nil {
		t.Error("a dead writer's file stays")
	}
}
