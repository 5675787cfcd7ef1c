//go:build linux

package sibling

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/volant/fledge-action/build/loop"
)

var (
	selfID = strings.Repeat("5e", 32)
	goneID = strings.Repeat("90", 32)
	newID  = strings.Repeat("a1", 32)
)

// fakeDaemon is a Docker daemon whose containers are functions.
type fakeDaemon struct {
	// run is the sibling's process; what it returns is printed.
	run    func(ctx context.Context, socket string) error
	volume string

	mu         sync.Mutex
	containers map[string]map[string]any // those that are there, by id: their specs
	running    map[string]bool
	stop       context.CancelFunc // of run
	attached   chan struct{}      // closed when the process has ended
	text       string
	conflicts  int // answers 409 to removals that many times
	socket     string
}

func newFakeDaemon(t *testing.T) *fakeDaemon {
	t.Helper()
	dir := t.TempDir()
	f := &fakeDaemon{
		volume: t.TempDir(), socket: filepath.Join(dir, "docker.sock"), attached: make(chan struct{}),
		containers: map[string]map[string]any{selfID: {}}, running: map[string]bool{selfID: true},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/{id}/json", f.inspect)
	mux.HandleFunc("GET /containers/json", f.list)
	mux.HandleFunc("POST /containers/create", f.create)
	mux.HandleFunc("POST /containers/{id}/attach", f.attach)
	mux.HandleFunc("POST /containers/{id}/start", f.start)
	mux.HandleFunc("DELETE /containers/{id}", f.remove)
	l, err := net.Listen("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return f
}

func (f *fakeDaemon) fail(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]string{"message": text})
}

func (f *fakeDaemon) inspect(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	for have := range f.containers {
		if strings.HasPrefix(have, id) {
			json.NewEncoder(w).Encode(map[string]any{
				"Id": have, "Image": "sha256:1", "State": map[string]any{"Running": f.running[have]},
				"Mounts": []map[string]any{{"Type": "bind", "Destination": f.volume, "RW": true}},
			})
			return
		}
	}
	f.fail(w, http.StatusNotFound, "No such container: "+id)
}

func (f *fakeDaemon) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if got := r.URL.Query().Get("filters"); got != `{"label":["fledge.sibling"]}` || r.URL.Query().Get("all") != "1" {
		f.fail(w, http.StatusBadRequest, "filters "+got)
		return
	}
	all := []map[string]any{}
	for id, spec := range f.containers {
		if labels, ok := spec["Labels"]; ok {
			all = append(all, map[string]any{"Id": id, "Labels": labels})
		}
	}
	json.NewEncoder(w).Encode(all)
}

func (f *fakeDaemon) create(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var spec map[string]any
	json.NewDecoder(r.Body).Decode(&spec)
	f.containers[newID] = spec
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(map[string]any{"Id": newID, "Warnings": nil})
}

// attach prints the text in two frames, as a daemon may, when the process has ended.
func (f *fakeDaemon) attach(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	select {
	case <-f.attached:
	case <-r.Context().Done():
		return
	}
	for _, part := range []string{f.text[:len(f.text)/2], f.text[len(f.text)/2:]} {
		head := [8]byte{2}
		binary.BigEndian.PutUint32(head[4:], uint32(len(part)))
		w.Write(append(head[:], part...))
	}
}

func (f *fakeDaemon) start(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	cmd := f.containers[id]["Cmd"].([]any)
	ctx, stop := context.WithCancel(context.Background())
	f.stop, f.running[id] = stop, true
	go func() {
		err := f.run(ctx, cmd[1].(string))
		f.mu.Lock()
		defer f.mu.Unlock()
		if err != nil {
			f.text = err.Error()
		}
		delete(f.containers, id) // AutoRemove
		close(f.attached)
	}()
	w.WriteHeader(http.StatusNoContent)
}

func (f *fakeDaemon) remove(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := r.PathValue("id")
	switch {
	case f.conflicts > 0:
		f.conflicts--
		f.fail(w, http.StatusConflict, "removal of container "+id+" is already in progress")
	case f.containers[id] == nil:
		f.fail(w, http.StatusNotFound, "No such container: "+id)
	default:
		if f.stop != nil {
			f.stop()
		}
		delete(f.containers, id)
		w.WriteHeader(http.StatusNoContent)
	}
}

// mounter is one that uses the daemon.
func (f *fakeDaemon) mounter(t *testing.T) *Mounter {
	t.Helper()
	m, err := open(t.Context(), newDaemon(f.socket), []string{goneID, selfID[:12]}, Options{Executable: "/fledge", Dirs: []string{f.volume}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// clean wants nothing to be left.
func (f *fakeDaemon) clean(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids := slices.Collect(maps.Keys(f.containers)); len(ids) != 1 {
		t.Errorf("containers are left: %q", ids)
	}
	if entries, err := os.ReadDir(f.volume); err != nil || len(entries) > 0 {
		t.Errorf("left on the volume: %v, %v", entries, err)
	}
}

// folderMounter "mounts" a folder.
type folderMounter struct {
	dir      string
	err      error         // of Mount
	closeErr error         // of Close
	hold     chan struct{} // Close waits for it, if not nil
	closed   chan struct{} // closed by Close
	got      loop.Mount
	image    string // its content
}

func newFolderMounter(t *testing.T) *folderMounter {
	return &folderMounter{dir: t.TempDir(), closed: make(chan struct{})}
}

func (m *folderMounter) Mount(_ context.Context, image *os.File, how loop.Mount) (loop.Mounted, error) {
	m.got = how
	body, err := io.ReadAll(io.NewSectionReader(image, 0, 1<<20))
	if err != nil {
		return nil, err
	}
	if m.image = string(body); m.err != nil {
		return nil, m.err
	}
	root, err := os.Open(m.dir)
	return &folderMounted{m, root}, err
}

type folderMounted struct {
	m    *folderMounter
	root *os.File
}

func (m *folderMounted) Root() *os.File { return m.root }

func (m *folderMounted) Close() error {
	if m.m.hold != nil {
		<-m.m.hold
	}
	close(m.m.closed)
	return errors.Join(m.root.Close(), m.m.closeErr)
}

// imageFile is an image.
func imageFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "image"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	fmt.Fprint(f, "the image")
	return f
}
