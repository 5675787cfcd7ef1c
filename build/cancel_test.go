package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ocitest"
)

// steps cancels a build at one of the moments when it tells or asks something.
type steps struct {
	registry http.Handler
	n        atomic.Int64
	at       int64 // which step cancels; 0 for none
	cancel   func()
}

func (s *steps) step() {
	if s.n.Add(1) == s.at {
		s.cancel()
	}
}

// RoundTrip answers for the registry, without a network.
func (s *steps) RoundTrip(req *http.Request) (*http.Response, error) {
	s.step()
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.registry.ServeHTTP(w, req)
	resp := w.Result()
	resp.Request = req
	resp.Body = stepBody{resp.Body, s, req.Context()}
	return resp, nil
}

type stepBody struct {
	io.ReadCloser
	s   *steps
	ctx context.Context // the request's
}

func (b stepBody) Read(p []byte) (int, error) {
	b.s.step()
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// TestCancelAnywhereLeavesNothing cancels a build at every step that can be told
// from outside. Nothing may be left: no file, no goroutine.
func TestCancelAnywhereLeavesNothing(t *testing.T) {
	body := make([]byte, 300_000)
	for i, x := 0, uint32(1); i < len(body); i++ {
		x = x*1664525 + 1013904223
		body[i] = byte(x >> 24)
	}
	copy(body, elftest.Program()) // so that it can be the image's program
	im := ocitest.Build(t, ocitest.Spec{
		Config: v1.Config{Entrypoint: []string{"/app"}},
		Layers: []ocitest.Layer{
			{Entries: []ocitest.Entry{{Header: tar.Header{Name: "app", Mode: 0o755}, Body: string(body)}, ocitest.File("hidden", string(body[1:])), ocitest.File("x", "x")}},
			{Entries: []ocitest.Entry{ocitest.File("hidden", string(body[2:])), ocitest.File("app2", "x")}, Compression: ocitest.Zstd},
			{Entries: []ocitest.Entry{ocitest.File(".wh.x", "")}},
		},
	})
	reg := ocitest.NewRegistry(t)
	reg.Push(t, "team/app:1", im)
	toml := "version = \"1\"\nstrategy = \"oci_rootfs\"\n[source]\nimage = \"127.0.0.1:5000/team/app:1\"\n" + noAgent + "[mappings]\n\"file\" = \"/srv/file\"\n"

	run := func(at int64) (took int64) {
		dir, temp, store := t.TempDir(), t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), body, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(filepath.Join(dir, "fledge.toml"), []byte(toml))
		if err != nil {
			t.Fatal(err)
		}
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := &steps{registry: reg, at: at, cancel: cancel}
		blobs := cache.New(cache.Options{Dir: store, TempDir: temp, Warn: func(err error) { t.Error(err) }})
		_, err = Build(ctx, Request{Config: c, WorkDir: dir, Cache: blobs, TempDir: temp, Transport: s, Report: func(Event) { s.step() }})
		if err := blobs.Close(); err != nil {
			t.Error(err)
		}
		want := "file"
		switch {
		case at == 0 && err != nil:
			t.Fatal(err)
		case err == nil: // cancelled too late, or not at all
			want = "file manifest.json app.img"
		case !errors.Is(err, context.Canceled):
			t.Errorf("step %d: %v, want context.Canceled", at, err)
		}
		for folder, want := range map[string]string{dir: want, temp: "", filepath.Join(store, "tmp"): ""} {
			entries, err := os.ReadDir(folder)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Error(err)
			}
			for _, e := range entries {
				if !strings.Contains(" "+want+" ", " "+e.Name()+" ") {
					t.Errorf("step %d: %s stays", at, filepath.Join(folder, e.Name()))
				}
			}
			if len(entries) != len(strings.Fields(want)) {
				t.Errorf("step %d: %d names in %s, want %q", at, len(entries), folder, want)
			}
		}
		for deadline := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
			time.Sleep(time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 1<<20)
			t.Fatalf("step %d: %d goroutines, %d before:\n%s", at, n, before, stacks[:runtime.Stack(stacks, true)])
		}
		return s.n.Load()
	}
	total := run(0)
	if total < 30 {
		t.Errorf("%d steps in all: the test says little", total)
	}
	for at := int64(1); at <= total; at += 1 + total/25 {
		run(at)
	}
	t.Logf("%d steps", total)
}
