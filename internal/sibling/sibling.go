//go:build linux

package sibling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/volant/fledge-action/build/image"
	"github.com/volant/fledge-action/build/loop"
)

// Label is the label of siblings; its value is the id of the container that they are for.
const Label = "fledge.sibling"

// How long things may take.
const (
	askPatience    = 10 * time.Second // for the daemon to say who we are
	meetPatience   = time.Minute      // for the sibling to connect; it takes half a second
	cancelPatience = 2 * time.Second  // for a cancelled build's image to be unmounted in peace
	removePatience = 4 * time.Second  // for the container to be gone
)

// pause waits a little, and tells whether ctx goes on.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// Options say where things are.
type Options struct {
	DockerHost string // unix:///PATH; "" is image.DefaultDockerHost
	Executable string // path of this program in the container
	// Dirs are folders to put the socket near, absolute; the first that is on a
	// volume counts. It is gone again before the image is written.
	Dirs []string
}

// Mounter mounts images in another container. It may be used by several goroutines.
type Mounter struct {
	docker     *daemon
	self       *container
	shared     string // folder of a volume
	executable string
}

// Open finds out whether images can be mounted by a sibling. Nothing is started yet.
// An error says what is lacking.
func Open(ctx context.Context, o Options) (*Mounter, error) {
	host := cmp.Or(o.DockerHost, image.DefaultDockerHost)
	socket, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return nil, fmt.Errorf("the Docker daemon is at %q: only unix:///PATH is supported", host)
	}
	if !filepath.IsAbs(o.Executable) {
		return nil, errors.New("the system does not tell where this program is")
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	hostname, _ := os.ReadFile("/etc/hostname")
	return open(ctx, newDaemon(socket), ownNames(mountinfo, hostname), o)
}

// open is Open for a container that has one of the names.
func open(ctx context.Context, d *daemon, names []string, o Options) (*Mounter, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	self, err := d.self(ctx, names)
	if err != nil {
		return nil, err
	}
	shared, err := self.shared(o.Dirs)
	if err != nil {
		return nil, err
	}
	return &Mounter{d, self, shared, o.Executable}, nil
}

// spec is what the daemon is to create. Names are those of the API.
func (m *Mounter) spec(socket string) any {
	type object = map[string]any
	return object{
		"Image": m.self.Image, "Entrypoint": []string{m.executable}, "Cmd": []string{"mount", socket},
		"User": "0:0", "WorkingDir": "/", "Labels": object{Label: m.self.ID},
		"NetworkDisabled": true, "AttachStdout": true, "AttachStderr": true,
		"Healthcheck": object{"Test": []string{"NONE"}},
		"HostConfig": object{
			"NetworkMode": "none", "VolumesFrom": []string{m.self.ID}, "AutoRemove": true, "ReadonlyRootfs": true,
			"CapDrop": []string{"ALL"}, "CapAdd": []string{"SYS_ADMIN", "MKNOD", "DAC_OVERRIDE"},
			"Devices":           []object{{"PathOnHost": loopControl, "PathInContainer": loopControl, "CgroupPermissions": "rw"}},
			"DeviceCgroupRules": []string{"b 7:* rmw"},
			"SecurityOpt":       []string{"apparmor=unconfined", "no-new-privileges"},
			"RestartPolicy":     object{"Name": "no"},
		},
	}
}

const loopControl = "/dev/loop-control"

// Mount implements loop.Mounter. The image and the sibling's end are the same as with
// loop.Local: when this process ends, in whatever way, nothing is left.
func (m *Mounter) Mount(ctx context.Context, image *os.File, how loop.Mount) (loop.Mounted, error) {
	mounted, err := m.mount(ctx, image, how)
	if err != nil {
		return nil, fmt.Errorf("mounting %s in a sibling container: %w", how.Type, err)
	}
	return mounted, nil
}

func (m *Mounter) mount(ctx context.Context, image *os.File, how loop.Mount) (*mounted, error) {
	if err := m.removeLeftovers(ctx); err != nil {
		return nil, fmt.Errorf("removing what an earlier build left: %w", err)
	}
	dir, err := makeFolder(m.shared)
	if err != nil {
		return nil, fmt.Errorf("making a folder for the socket: %w", err)
	}
	c, err := m.begin(ctx, dir)
	err = errors.Join(err, os.RemoveAll(dir.Name()), dir.Close())
	if err != nil {
		return nil, errors.Join(err, c.remove(ctx))
	}
	root, err := c.ask(ctx, image, how)
	if err != nil {
		return nil, errors.Join(err, c.remove(ctx))
	}
	return &mounted{sibling: c, root: root, cancelled: ctx}, nil
}

// removeLeftovers removes siblings whose parents are gone.
func (m *Mounter) removeLeftovers(ctx context.Context) error {
	all, err := m.docker.labelled(ctx, Label)
	if err != nil {
		return err
	}
	for id, parent := range all {
		if parent == m.self.ID || !isID.MatchString(id) || !isID.MatchString(parent) {
			continue
		}
		p, err := m.docker.inspect(ctx, parent)
		if isStatus(err, http.StatusNotFound) || err == nil && !p.State.Running {
			err = m.docker.remove(ctx, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sibling is a container and the connection to it. A nil one has neither.
type sibling struct {
	docker *daemon
	id     string
	said   *said
	hangUp context.CancelFunc // ends said
	conn   *net.UnixConn
}

// begin starts a sibling and waits for it to connect. The result is to be removed also
// with an error.
func (m *Mounter) begin(ctx context.Context, dir *os.File) (*sibling, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	defer l.Close()
	c := &sibling{docker: m.docker}
	if c.id, err = m.create(ctx, m.spec(filepath.Join(dir.Name(), socketName))); err != nil {
		return nil, fmt.Errorf("creating it: %w", explain(err))
	}
	var listening context.Context
	listening, c.hangUp = context.WithCancel(context.WithoutCancel(ctx))
	if c.said, err = m.docker.attach(listening, c.id); err != nil {
		return c, fmt.Errorf("listening to it: %w", err)
	}
	if err := m.docker.start(ctx, c.id); err != nil {
		return c, fmt.Errorf("starting it: %w", explain(err))
	}
	c.conn, err = c.meet(ctx, l)
	return c, err
}

// create creates a container. It does not end with ctx: the daemon might go on, and
// nobody would know the container's id.
func (m *Mounter) create(ctx context.Context, spec any) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askPatience)
	defer cancel()
	return m.docker.create(ctx, spec)
}

// socketName is the name of the socket in its folder.
const socketName = "socket"

func listen(dir *os.File) (*net.UnixListener, error) {
	l, err := net.ListenUnix(network, address(dir, socketName))
	if err == nil {
		l.SetUnlinkOnClose(false) // the folder is removed
	}
	return l, err
}

// meet waits for the sibling to connect. Only the first who does is let in.
func (c *sibling) meet(ctx context.Context, l *net.UnixListener) (*net.UnixConn, error) {
	met := make(chan struct{})
	defer close(met)
	late := time.NewTimer(meetPatience)
	defer late.Stop()
	go func() {
		select {
		case <-met:
		case <-ctx.Done():
		case <-c.said.ended:
		case <-late.C:
		}
		_ = l.Close()
	}()
	conn, err := l.AcceptUnix()
	switch {
	case err == nil:
		return conn, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	select {
	case <-c.said.ended:
		return nil, c.died()
	default:
		return nil, fmt.Errorf("it did not connect within %v", meetPatience)
	}
}

// died is the error of a sibling that ended by itself.
func (c *sibling) died() error {
	select {
	case <-c.said.ended: // then all of it is there
	case <-time.After(time.Second):
	}
	if text := c.said.String(); text != "" {
		return fmt.Errorf("it ended: %s", text)
	}
	return errors.New("it ended, or was ended, and said nothing")
}

// explain adds what to do to an error of the daemon's.
func explain(err error) error {
	if strings.Contains(err.Error(), loopControl) {
		return fmt.Errorf("%w; the host has no loop devices: run there 'modprobe loop'", err)
	}
	return err
}

// ask has the sibling mount the image.
func (c *sibling) ask(ctx context.Context, image *os.File, how loop.Mount) (*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	defer stop()
	err := send(c.conn, how, image)
	if err == nil {
		var root *os.File
		if root, err = c.answer(); err == nil {
			return root, checkRoot(root)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, c.explain(err)
}

// checkRoot closes what is not a root folder.
func checkRoot(root *os.File) error {
	if root == nil {
		return errors.New("it answered without a root folder")
	}
	if err := theRoot(root); err != nil {
		return errors.Join(err, root.Close())
	}
	return nil
}

// answer waits for the sibling's answer.
func (c *sibling) answer() (*os.File, error) {
	var a answer
	root, err := receive(c.conn, &a)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
		if root != nil {
			err = errors.Join(err, root.Close())
		}
	}
	if err != nil {
		return nil, err
	}
	return root, nil
}

// finish has the sibling unmount the image, and waits. A cancelled build does not wait for
// long.
func (c *sibling) finish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(cancelPatience, func() { _ = c.conn.Close() })
	})
	defer stop()
	err := send(c.conn, end{Done: true}, nil)
	if err == nil {
		var root *os.File
		if root, err = c.answer(); root != nil {
			err = errors.Join(errors.New("it answered its end with a descriptor"), root.Close())
		}
	}
	return c.explain(err)
}

// explain makes the error of the connection one of the sibling's, if that has ended.
func (c *sibling) explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return c.died()
	}
	return err
}

// remove ends the sibling in any case: what it has mounted goes with it.
func (c *sibling) remove(ctx context.Context) error {
	if c == nil {
		return nil
	}
	if c.conn != nil {
		_ = c.conn.Close()
	}
	defer c.hangUp()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removePatience)
	defer cancel()
	if err := c.docker.remove(ctx, c.id); err != nil {
		return fmt.Errorf("removing the sibling container %.12s: %w", c.id, err)
	}
	return nil
}

// mounted implements loop.Mounted.
type mounted struct {
	sibling   *sibling
	root      *os.File
	cancelled context.Context // of Mount: whether there is a hurry
	once      sync.Once
	err       error
}

func (m *mounted) Root() *os.File { return m.root }

func (m *mounted) Close() error {
	m.once.Do(func() {
		m.err = m.root.Close()
		if err := m.sibling.finish(m.cancelled); err != nil {
			m.err = errors.Join(m.err, fmt.Errorf("unmounting in the sibling container: %w", err))
		}
		m.err = errors.Join(m.err, m.sibling.remove(m.cancelled))
	})
	return m.err
}
