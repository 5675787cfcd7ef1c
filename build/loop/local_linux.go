package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Local mounts by the kernel that this process runs on, which takes CAP_SYS_ADMIN and
// loop devices.
type Local struct{}

const (
	loopControl = "/dev/loop-control"
	loopMajor   = 7

	// maxRaces is how many times another process may be faster to take a free device.
	maxRaces = 64

	// detachWait is how long the kernel is given to detach a device. What looks at new
	// devices, such as udev, may have it open for a moment.
	detachWait = 10 * time.Second
	detachPoll = 20 * time.Millisecond
)

// Available tells what is lacking, in words that say what to do. It is nil when an image
// can be mounted, as far as that can be known before the type is.
func (Local) Available() error {
	if !hasSysAdmin() {
		return errors.New("mounting an image needs CAP_SYS_ADMIN: run as root, or give the container --cap-add SYS_ADMIN")
	}
	ctl, err := openControl()
	if err != nil {
		return err
	}
	defer ctl.Close()
	n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return fmt.Errorf("asking %s for a free device: %w", loopControl, err)
	}
	dev, err := openDevice(n)
	if err != nil {
		return err
	}
	dev.Close()
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return explainFsopen("tmpfs", err)
	}
	return unix.Close(fs)
}

// hasSysAdmin tells whether this process has CAP_SYS_ADMIN.
func hasSysAdmin() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

func openControl() (*os.File, error) {
	f, err := os.OpenFile(loopControl, os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("opening %s: it does not exist; run 'modprobe loop', or give the container --device %s", loopControl, loopControl)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("opening %s: %w; run as root, or give the container --device %s", loopControl, errors.Unwrap(err), loopControl)
	}
	return f, err
}

// device is a loop device that this process has open.
type device struct {
	*os.File
	number int
	path   string // of a node of it, for the kernel
	temp   string // folder that was made for the node; "" without
}

func (d *device) Close() error {
	err := d.File.Close()
	if d.temp != "" {
		os.RemoveAll(d.temp)
	}
	return err
}

func deviceName(n int) string { return fmt.Sprintf("/dev/loop%d", n) }

// openDevice opens a loop device. A container that may use it need not have a node of
// it: those of /dev are as old as the container. Then there is one for a moment.
func openDevice(n int) (*device, error) {
	name := deviceName(n)
	d := &device{number: n, path: name}
	var err error
	if d.File, err = os.OpenFile(name, os.O_RDWR, 0); errors.Is(err, os.ErrNotExist) {
		err = d.makeNode()
	}
	if err == nil {
		return d, nil
	}
	if d.temp != "" {
		os.RemoveAll(d.temp)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return nil, fmt.Errorf("opening %s: %w; give the container --device-cgroup-rule 'b %d:* rmw' and CAP_MKNOD", name, err, loopMajor)
	}
	return nil, fmt.Errorf("opening %s: %w", name, err)
}

// makeNode makes and opens a node in a private folder. Many a folder for temporary files
// is mounted such that no device in it can be opened.
func (d *device) makeNode() error {
	var all []error
	for _, parent := range []string{"/dev", os.TempDir()} {
		temp, err := os.MkdirTemp(parent, "fledge-loop-*")
		if err != nil {
			all = append(all, err)
			continue
		}
		path := filepath.Join(temp, fmt.Sprintf("loop%d", d.number))
		if err = unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(d.number)))); err == nil {
			if d.File, err = os.OpenFile(path, os.O_RDWR, 0); err == nil {
				d.temp, d.path = temp, path
				return nil
			}
		} else {
			err = fmt.Errorf("mknod: %w", err)
		}
		os.RemoveAll(temp)
		all = append(all, err)
	}
	return errors.Join(all...)
}

// attach gives an image to a free device, which lets go of it by itself when nobody has
// the device open or mounted any more.
func attach(ctx context.Context, image *os.File) (*device, error) {
	ctl, err := openControl()
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image.Name()) // what losetup shows
	for range maxRaces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("asking %s for a free device: %w", loopControl, err)
		}
		d, err := openDevice(n)
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(d.Fd()), &config)
		if err == nil {
			return d, nil
		}
		d.Close()
		switch {
		case errors.Is(err, unix.EBUSY): // another process was faster
		case errors.Is(err, unix.EINVAL):
			return nil, fmt.Errorf("attaching the image to %s: %w; Linux 5.8 or later is needed", deviceName(n), err)
		default:
			return nil, fmt.Errorf("attaching the image to %s: %w", deviceName(n), err)
		}
	}
	return nil, fmt.Errorf("attaching the image to a loop device: others took the free one %d times; try again", maxRaces)
}

// Mount implements [Mounter].
func (Local) Mount(ctx context.Context, image *os.File, m Mount) (Mounted, error) {
	d, err := attach(ctx, image)
	if err != nil {
		return nil, err
	}
	l := &localMount{number: d.number}
	var status *unix.LoopInfo64
	if status, err = unix.IoctlLoopGetStatus64(int(d.Fd())); err != nil {
		err = fmt.Errorf("asking %s for its file: %w", deviceName(d.number), err)
	} else {
		l.dev, l.inode = status.Device, status.Inode
		err = l.mount(ctx, d, m)
	}
	if e := d.Close(); err == nil && e != nil {
		err = fmt.Errorf("closing %s: %w", deviceName(d.number), e)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// localMount is a mount of Local.
type localMount struct {
	number     int
	dev, inode uint64   // of the image, as the loop device tells them
	held       *os.File // keeps the mount; nil without
	root       *os.File

	once sync.Once
	err  error
}

// mount mounts a device in no folder.
func (l *localMount) mount(ctx context.Context, d *device, m Mount) error {
	fs, err := unix.Fsopen(string(m.Type), unix.FSOPEN_CLOEXEC)
	if err != nil {
		return explainFsopen(string(m.Type), err)
	}
	defer unix.Close(fs)
	if err := configure(fs, d.path, m.Options); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return explainCreate(m.Type, deviceName(d.number), err, kernelMessages(fs))
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOATIME)
	if err != nil {
		return fmt.Errorf("mounting %s: fsmount: %w", deviceName(d.number), err)
	}
	l.held = os.NewFile(uintptr(fd), string(m.Type)+" mount")
	root, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the root of %s: %w", deviceName(d.number), err)
	}
	l.root = os.NewFile(uintptr(root), string(m.Type)+" root")
	return nil
}

func configure(fs int, source string, options []string) error {
	if err := unix.FsconfigSetString(fs, "source", source); err != nil {
		return fmt.Errorf("mount option source=%s: %w", source, err)
	}
	for _, o := range options {
		key, value, ok := strings.Cut(o, "=")
		var err error
		if ok {
			err = unix.FsconfigSetString(fs, key, value)
		} else {
			err = unix.FsconfigSetFlag(fs, key)
		}
		if err != nil {
			return fmt.Errorf("mount option %s: %w: %s", o, err, kernelMessages(fs))
		}
	}
	return nil
}

// maxMessages is how much of what the kernel says about a mount is kept, in bytes.
const maxMessages = 4 << 10

// kernelMessages are the lines that the kernel has for whoever mounts.
func kernelMessages(fs int) string {
	var all []string
	buf := make([]byte, maxMessages)
	for size := 0; size < maxMessages; {
		n, err := unix.Read(fs, buf)
		if err != nil || n <= 0 {
			break
		}
		size += n
		all = append(all, string(bytes.TrimSpace(buf[:n])))
	}
	return strings.Join(all, "; ")
}

func explainFsopen(name string, err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("mounting an image: the kernel of this machine has no %s; run 'modprobe %s' as root, or build with type = \"ext4\"", name, name)
	case errors.Is(err, unix.ENOSYS):
		return errors.New("mounting an image: the kernel lacks fsopen(2), or the container's seccomp profile forbids it; Linux 5.8 or later is needed")
	case errors.Is(err, unix.EPERM):
		return errors.New("mounting an image: fsopen(2) is not permitted; run as root outside of a user namespace, or give the container --cap-add SYS_ADMIN and --security-opt apparmor=unconfined")
	}
	return fmt.Errorf("mounting an image: fsopen %s: %w", name, err)
}

func explainCreate(t Type, device string, err error, messages string) error {
	if messages != "" {
		messages = ": " + messages
	}
	text := fmt.Sprintf("mounting %s as %s", device, t)
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%s: %w%s; another %s of the same image is mounted, or was: unmount it, or run 'btrfs device scan --forget'", text, err, messages, t)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w%s; give the container --security-opt apparmor=unconfined and --device-cgroup-rule 'b %d:* rmw'", text, err, messages, loopMajor)
	}
	return fmt.Errorf("%s: %w%s; 'dmesg' may tell more", text, err, messages)
}

// Root implements [Mounted].
func (l *localMount) Root() *os.File { return l.root }

// Close implements [Mounted].
func (l *localMount) Close() error {
	l.once.Do(func() {
		for _, f := range []*os.File{l.root, l.held} {
			if f != nil {
				l.err = errors.Join(l.err, f.Close())
			}
		}
		l.err = errors.Join(l.err, l.detached())
	})
	return l.err
}

// detached waits until the device has another file than the image, or none.
func (l *localMount) detached() error {
	for range detachWait / detachPoll {
		has, err := l.attached()
		if err != nil || !has {
			return err
		}
		time.Sleep(detachPoll)
	}
	name := deviceName(l.number)
	return fmt.Errorf("detaching %s: the image is still in it after %v; find who has it open with 'lsof %s' and 'grep %s /proc/*/mountinfo', then run 'losetup -d %s'",
		name, detachWait, name, filepath.Base(name), name)
}

// attached tells whether the device has the image.
func (l *localMount) attached() (bool, error) {
	d, err := openDevice(l.number)
	if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
		return false, nil // removed since
	}
	if err != nil {
		return false, fmt.Errorf("looking whether the image is detached: %w", err)
	}
	defer d.Close()
	status, err := unix.IoctlLoopGetStatus64(int(d.Fd()))
	switch {
	case errors.Is(err, unix.ENXIO):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("asking %s for its file: %w", deviceName(l.number), err)
	}
	return status.Device == l.dev && status.Inode == l.inode, nil
}
