//go:build linux

package sibling

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/build/loop"
)

var xfs = loop.Mount{Type: loop.XFS, Options: []string{"nodiscard"}}

func TestASiblingMountsAndUnmounts(t *testing.T) {
	f, fake := newFakeDaemon(t), newFolderMounter(t)
	f.volume = filepath.Join(f.volume, strings.Repeat("long/", 30)) // no socket has a path of this length
	if err := os.MkdirAll(f.volume, 0o755); err != nil {
		t.Fatal(err)
	}
	f.conflicts = 2
	f.run = func(ctx context.Context, socket string) error { return Serve(ctx, socket, fake) }
	m, err := f.mounter(t).Mount(t.Context(), imageFile(t), xfs)
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(f.volume); len(entries) > 0 {
		t.Errorf("on the volume while it is mounted: %v", entries)
	}
	fd, err := unix.Openat(int(m.Root().Fd()), "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if _, err := os.Stat(filepath.Join(fake.dir, "file")); err != nil || fake.image != "the image" || !reflect.DeepEqual(fake.got, xfs) {
		t.Errorf("%v; it got %q, %+v", err, fake.image, fake.got)
	}
	select {
	case <-fake.closed:
		t.Error("it was unmounted before its end")
	default:
	}
	if err := errors.Join(m.Close(), m.Close()); err != nil {
		t.Error(err)
	}
	<-fake.closed
	<-f.attached
	f.clean(t)
}

func TestErrorsOfTheSiblingAreTold(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(*folderMounter) func(context.Context, string) error
		want string
	}{
		"mounting": {func(m *folderMounter) func(context.Context, string) error {
			m.err = errors.New("no such driver")
			return func(ctx context.Context, s string) error { return Serve(ctx, s, m) }
		}, "mounting xfs in a sibling container: no such driver"},
		"unmounting": {func(m *folderMounter) func(context.Context, string) error {
			m.closeErr = errors.New("still attached")
			return func(ctx context.Context, s string) error { return Serve(ctx, s, m) }
		}, "unmounting in the sibling container: still attached"},
		"no start": {func(*folderMounter) func(context.Context, string) error {
			return func(context.Context, string) error { return errors.New("exec format error") }
		}, "it ended: exec format error"},
		"silent": {func(*folderMounter) func(context.Context, string) error {
			return func(context.Context, string) error { return nil }
		}, "said nothing"},
		"killed while mounting": {func(*folderMounter) func(context.Context, string) error {
			return func(_ context.Context, s string) error {
				conn, err := dial(s)
				return errors.Join(err, conn.Close(), errors.New("killed"))
			}
		}, "it ended: killed"},
		"killed while mounted": {func(m *folderMounter) func(context.Context, string) error {
			return func(_ context.Context, s string) error {
				conn, err := dial(s)
				if err != nil {
					return err
				}
				image, _ := receive(conn, new(loop.Mount))
				mounted, _ := m.Mount(context.Background(), image, xfs)
				err = reply(conn, nil, mounted.Root())
				return errors.Join(err, image.Close(), mounted.Close(), conn.Close(), errors.New("killed"))
			}
		}, "unmounting in the sibling container: it ended: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeDaemon(t)
			f.run = c.run(newFolderMounter(t))
			m, err := f.mounter(t).Mount(t.Context(), imageFile(t), xfs)
			if err == nil {
				err = m.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			<-f.attached
			f.clean(t)
		})
	}
}

// TestAnAnswerIsNotTrusted has a sibling that sends what none does.
func TestAnAnswerIsNotTrusted(t *testing.T) {
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	file := imageFile(t)
	rights := func(files ...*os.File) []byte {
		var fds []int
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		return unix.UnixRights(fds...)
	}
	for name, c := range map[string]struct {
		body   string
		rights []byte
		want   string // "" for success
	}{
		"good":         {"{}", rights(folder), ""},
		"largest":      {"{}" + strings.Repeat(" ", maxPacket-2), rights(folder), ""},
		"too large":    {"{}" + strings.Repeat(" ", maxPacket-1), rights(folder), "more than 16384 bytes"},
		"two":          {"{}", rights(folder, folder), "more than 1 descriptor"},
		"many":         {"{}", rights(slices.Repeat([]*os.File{folder}, 200)...), "more than 1 descriptor"},
		"none":         {"{}", nil, "without a root folder"},
		"a file":       {"{}", rights(file), "not a folder"},
		"two values":   {"{}{}", rights(folder), "more behind it"},
		"another":      {`{"x": 1}`, rights(folder), "unknown field"},
		"no JSON":      {"\x00", rights(folder), "reading a message"},
		"empty":        {"", rights(folder), "reading a message"},
		"error and fd": {`{"error": "no"}`, rights(folder), "no"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeDaemon(t)
			f.run = func(_ context.Context, s string) error {
				conn, err := dial(s)
				if err != nil {
					return err
				}
				defer conn.Close()
				image, err := receive(conn, new(loop.Mount))
				if err != nil {
					return err
				}
				image.Close()
				_, _, err = conn.WriteMsgUnix([]byte(c.body), c.rights, nil)
				if err == nil && c.want == "" {
					err = errors.Join(untilDone(conn), reply(conn, nil, nil))
				}
				return err
			}
			before := descriptors(t)
			m, err := f.mounter(t).Mount(t.Context(), file, xfs)
			if err == nil {
				err = m.Close()
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			<-f.attached
			f.clean(t)
			for range 100 { // the daemon's connections are closed by goroutines
				if descriptors(t) <= before || !pause(t.Context()) {
					return
				}
			}
			t.Errorf("%d descriptors, %d before", descriptors(t), before)
		})
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(to, "/") {
			n++ // files and folders; sockets come and go
		}
	}
	return n
}

// TestARequestIsNotTrusted has a parent that sends what none does.
func TestARequestIsNotTrusted(t *testing.T) {
	folder, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	file := imageFile(t)
	good, _ := json.Marshal(xfs)
	for name, c := range map[string]struct {
		body  string
		files []*os.File
		want  string // in the answer, or in Serve's error
	}{
		"no image":  {string(good), nil, "no image"},
		"folder":    {string(good), []*os.File{folder}, "not a regular file"},
		"two":       {string(good), []*os.File{file, file}, "more than 1 descriptor"},
		"type":      {`{"type": "ext4"}`, []*os.File{file}, "only xfs and btrfs"},
		"no type":   {`{}`, []*os.File{file}, "only xfs and btrfs"},
		"too large": {string(good) + strings.Repeat(" ", maxPacket), []*os.File{file}, "more than 16384 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeDaemon(t)
			dir, err := makeFolder(f.volume)
			if err != nil {
				t.Fatal(err)
			}
			defer dir.Close()
			l, err := listen(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			served := make(chan error, 1)
			fake := newFolderMounter(t)
			go func() { served <- Serve(t.Context(), filepath.Join(dir.Name(), socketName), fake) }()
			conn, err := l.AcceptUnix()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var rights []byte
			if c.files != nil {
				var fds []int
				for _, f := range c.files {
					fds = append(fds, int(f.Fd()))
				}
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := conn.WriteMsgUnix([]byte(c.body), rights, nil); err != nil {
				t.Fatal(err)
			}
			var a answer
			_, err = receive(conn, &a)
			text := a.Error
			if err != nil {
				text = (<-served).Error()
			}
			if !strings.Contains(text, c.want) || fake.image != "" {
				t.Errorf("got %q, want %q; mounted %q", text, c.want, fake.image)
			}
		})
	}
}

// TestTheSiblingEndsWithTheBuild has a build that ends without a word.
func TestTheSiblingEndsWithTheBuild(t *testing.T) {
	f, fake := newFakeDaemon(t), newFolderMounter(t)
	result := make(chan error, 1)
	f.run = func(ctx context.Context, socket string) error {
		err := Serve(ctx, socket, fake)
		result <- err
		return err
	}
	m, err := f.mounter(t).mount(t.Context(), imageFile(t), xfs)
	if err != nil {
		t.Fatal(err)
	}
	m.sibling.conn.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-fake.closed
	<-f.attached
	f.clean(t)
	m.sibling.hangUp()

	// And one that has ended before they met.
	dir, err := makeFolder(f.volume)
	if err != nil {
		t.Fatal(err)
	}
	dir.Close()
	if err := Serve(t.Context(), filepath.Join(dir.Name(), socketName), fake); err == nil {
		t.Error("it connected to nothing")
	}
	f.clean(t)
}

func TestACancelledBuildDoesNotWait(t *testing.T) {
	t.Run("before they meet", func(t *testing.T) {
		f := newFakeDaemon(t)
		ctx, cancel := context.WithCancel(t.Context())
		f.run = func(ctx context.Context, _ string) error {
			cancel()
			<-ctx.Done()
			return nil
		}
		if _, err := f.mounter(t).Mount(ctx, imageFile(t), xfs); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-f.attached
		f.clean(t)
	})
	t.Run("while mounting", func(t *testing.T) {
		f := newFakeDaemon(t)
		ctx, cancel := context.WithCancel(t.Context())
		f.run = func(ctx context.Context, s string) error {
			conn, err := dial(s)
			if err != nil {
				return err
			}
			defer conn.Close()
			cancel()
			<-ctx.Done()
			return nil
		}
		if _, err := f.mounter(t).Mount(ctx, imageFile(t), xfs); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-f.attached
		f.clean(t)
	})
	t.Run("while unmounting", func(t *testing.T) {
		f, fake := newFakeDaemon(t), newFolderMounter(t)
		fake.hold = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		f.run = func(ctx context.Context, s string) error { return Serve(ctx, s, fake) }
		m, err := f.mounter(t).Mount(ctx, imageFile(t), xfs)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := m.Close(); err == nil {
			t.Error("it was not unmounted, and no error")
		}
		close(fake.hold)
		<-f.attached
		f.clean(t)
	})
}

func TestLeftoversOfDeadBuildsAreRemoved(t *testing.T) {
	f, fake := newFakeDaemon(t), newFolderMounter(t)
	f.run = func(ctx context.Context, s string) error { return Serve(ctx, s, fake) }
	stopped, living := strings.Repeat("07", 32), strings.Repeat("11", 32)
	f.containers[stopped], f.containers[living], f.running[living] = map[string]any{}, map[string]any{}, true
	labels := map[string]string{strings.Repeat("c1", 32): goneID, strings.Repeat("c2", 32): stopped, strings.Repeat("c3", 32): living, strings.Repeat("c4", 32): selfID, strings.Repeat("c5", 32): "../x"}
	for id, parent := range labels {
		f.containers[id] = map[string]any{"Labels": map[string]string{Label: parent}}
	}
	// A folder of a dead build, one of a living one, and one that is just being made.
	dead, err := makeFolder(f.volume)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(dead)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	dead.Close()
	if err := os.Mkdir(filepath.Join(f.volume, folderPrefix+"new"), 0o700); err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(f.volume, folderPrefix+"busy")
	if err := os.Mkdir(busy, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(busy, socketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(busy)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.Flock(int(held.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}

	m, err := f.mounter(t).Mount(t.Context(), imageFile(t), xfs)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	<-f.attached
	for id, parent := range labels {
		if _, there := f.containers[id]; there != (parent != goneID && parent != stopped) {
			t.Errorf("the sibling of %.4s is there: %v", parent, there)
		}
	}
	entries, err := os.ReadDir(f.volume)
	if err != nil || len(entries) != 2 {
		t.Errorf("%v; folders %v", err, entries)
	}
}

// TestTheSiblingMayWhatItNeeds is the list of all that it is given.
func TestTheSiblingMayWhatItNeeds(t *testing.T) {
	f := newFakeDaemon(t)
	text, err := json.Marshal(f.mounter(t).spec("/v/socket"))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"AttachStderr":true,"AttachStdout":true,"Cmd":["mount","/v/socket"],"Entrypoint":["/fledge"],"Healthcheck":{"Test":["NONE"]},` +
		`"HostConfig":{"AutoRemove":true,"CapAdd":["SYS_ADMIN","MKNOD","DAC_OVERRIDE"],"CapDrop":["ALL"],"DeviceCgroupRules":["b 7:* rmw"],` +
		`"Devices":[{"CgroupPermissions":"rw","PathInContainer":"/dev/loop-control","PathOnHost":"/dev/loop-control"}],"NetworkMode":"none","ReadonlyRootfs":true,` +
		`"RestartPolicy":{"Name":"no"},"SecurityOpt":["apparmor=unconfined","no-new-privileges"],"VolumesFrom":["` + selfID + `"]},` +
		`"Image":"sha256:1","Labels":{"fledge.sibling":"` + selfID + `"},"NetworkDisabled":true,"User":"0:0","WorkingDir":"/"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestOpenTellsWhatIsLacking(t *testing.T) {
	f := newFakeDaemon(t)
	nobody := filepath.Join(t.TempDir(), "nobody")
	for name, c := range map[string]struct {
		d     *daemon
		names []string
		want  string
	}{
		"no container":   {newDaemon(f.socket), nil, "in no container"},
		"another daemon": {newDaemon(f.socket), []string{goneID}, "in no container"},
		"no socket":      {newDaemon(nobody), []string{selfID}, "mount it into this container with -v " + nobody},
	} {
		if _, err := open(t.Context(), c.d, c.names, Options{Executable: "/fledge"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := Open(t.Context(), Options{DockerHost: "tcp://127.0.0.1:1", Executable: "/fledge"}); err == nil || !strings.Contains(err.Error(), "only unix:///PATH") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "where this program is") {
		t.Error(err)
	}
}

func TestTheContainerIsFoundByItsMounts(t *testing.T) {
	id, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	line := func(root, at string) string {
		return "1 2 8:1 " + root + " " + at + " rw,relatime - ext4 /dev/sda1 rw\n"
	}
	for name, c := range map[string]struct {
		mountinfo, hostname string
		want                []string
	}{
		"docker":     {line("/var/lib/docker/containers/"+id+"/hostname", "/etc/hostname") + line("/var/lib/docker/containers/"+id+"/hosts", "/etc/hosts"), "ab", []string{id}},
		"own volume": {line("/docker/containers/"+id+"/resolv.conf", "/etc/resolv.conf"), id[:12] + "\n", []string{id, id[:12]}},
		"elsewhere":  {line("/var/lib/docker/containers/"+other+"/hostname", "/mnt/x"), "build-host\n", nil},
		"hostname":   {"", id[:12], []string{id[:12]}},
		"no id":      {line("/containers/"+id[1:]+"/hosts", "/etc/hosts"), id[:11], nil},
		"short line": {"1 2 3\n\n", "", nil},
	} {
		if got := ownNames([]byte(c.mountinfo), []byte(c.hostname)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestTheSocketIsNearWhereItIsWanted(t *testing.T) {
	a := t.TempDir()
	inner := filepath.Join(a, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bind := func(at string) volume { return volume{"bind", at, true} }
	for name, c := range map[string]struct {
		mounts []volume
		dirs   []string
		want   string // "" for an error
	}{
		"inner":      {[]volume{bind(a), bind(inner)}, []string{filepath.Join(inner, "dist")}, inner},
		"outer":      {[]volume{bind(inner), bind(a)}, []string{a + "/innermost"}, a},
		"first":      {[]volume{bind(a), bind(inner)}, []string{"/elsewhere", a, inner}, a},
		"any":        {[]volume{bind(file), bind(a)}, []string{"/elsewhere"}, a},
		"read only":  {[]volume{{"bind", a, false}}, []string{a}, ""},
		"in memory":  {[]volume{{"tmpfs", a, true}}, []string{a}, ""},
		"not there":  {[]volume{bind(a + "/none")}, nil, ""},
		"a file":     {[]volume{bind(file)}, nil, ""},
		"none":       {nil, []string{a}, ""},
		"everything": {[]volume{{"volume", "/", true}}, []string{a}, "/"},
	} {
		got, err := (&container{Mounts: c.mounts}).shared(c.dirs)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, c.want)
		}
	}
}
