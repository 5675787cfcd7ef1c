package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/testneed"
)

// The tests in this file run the shim as the first process of new PID and mount
// namespaces, in a root folder of its own. There reboot(2) ends the first process with
// SIGINT and does nothing to the machine; see "man 2 reboot", "Behavior inside PID
// namespaces".

// A scene is what the shim finds when it starts.
type scene struct {
	Root     string   // folder with /init
	Args     []string // from the second on
	Env      []string
	Emulator string // path in Root of a program to run /init with, "" for none
	Closed   bool   // descriptors 0, 1 and 2 are not open
	Stderr   bool   // in /stderr, else it is the test's own pipe
	Capture  string // "mount": /dev and /sys are mounted; "folder": /dev is a folder; in both /console and /kmsg are under the device's names
	Deny     []deny

	ParentPIDNamespace string
}

// deny makes a system call fail, if the argument has the value or the argument's number is -1.
type deny struct {
	Call  uintptr
	Arg   int
	Value uint32
	Errno uint32
}

const sceneVariable = "SHIM_TEST_SCENE"

func TestMain(m *testing.M) {
	if text := os.Getenv(sceneVariable); text != "" {
		err := become(text)
		fmt.Fprintln(os.Stderr, "scene:", err)
		os.Exit(120)
	}
	status := m.Run()
	if probeFile != "" {
		os.RemoveAll(filepath.Dir(probeFile))
	}
	os.Exit(status)
}

// become turns this process, which has to be the first of its namespace, into the shim.
func become(text string) error {
	var s scene
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	// The shim must never run as an ordinary process: its reboot would be a real one.
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil || namespace == s.ParentPIDNamespace || s.ParentPIDNamespace == "" || os.Getpid() != 1 {
		return fmt.Errorf("not in a PID namespace of its own: %q, pid %d, %w", namespace, os.Getpid(), err)
	}
	runtime.LockOSThread() // the filter below belongs to a thread
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := capture(s); err != nil {
		return err
	}
	if err := errors.Join(unix.Chroot(s.Root), unix.Chdir("/")); err != nil {
		return err
	}
	if s.Stderr {
		fd, err := unix.Open("/stderr", unix.O_WRONLY, 0)
		if err == nil {
			err = unix.Dup3(fd, 2, 0)
		}
		if err != nil {
			return err
		}
		unix.CloseOnExec(fd)
	}
	for fd := range 3 {
		if s.Closed {
			unix.CloseOnExec(fd)
		}
	}
	path, argv := Path, append([]string{Path}, s.Args...)
	if s.Emulator != "" {
		path, argv = s.Emulator, append([]string{s.Emulator, Path}, s.Args...)
	}
	if err := filter(s.Deny); err != nil {
		return err
	}
	return unix.Exec(path, argv, s.Env)
}

func capture(s scene) error {
	dev := filepath.Join(s.Root, "dev")
	switch s.Capture {
	case "":
		return nil
	case "mount":
		const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := errors.Join(
			unix.Mount("devtmpfs", dev, "devtmpfs", unix.MS_NOSUID, ""),
			unix.Mount("sysfs", filepath.Join(s.Root, "sys"), "sysfs", flags, ""),
		); err != nil {
			return fmt.Errorf("mounting: %w", err)
		}
	}
	for _, name := range []string{"console", "kmsg"} {
		if err := unix.Mount(filepath.Join(s.Root, name), filepath.Join(dev, name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting a file on /dev/%s: %w", name, err)
		}
	}
	return nil
}

// filter has the kernel refuse system calls of this thread and of what it executes.
func filter(denied []deny) error {
	if len(denied) == 0 {
		return nil
	}
	const (
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		isEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		answer  = unix.BPF_RET | unix.BPF_K
	)
	var code []unix.SockFilter
	for _, d := range denied {
		code = append(code,
			unix.SockFilter{Code: load, K: 0}, // the number
			unix.SockFilter{Code: isEqual, K: uint32(d.Call), Jf: 3})
		if d.Arg < 0 {
			code[len(code)-1].Jf = 1
		} else {
			code = append(code,
				unix.SockFilter{Code: load, K: uint32(16 + 8*d.Arg)}, // its low half
				unix.SockFilter{Code: isEqual, K: d.Value, Jf: 1})
		}
		code = append(code, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ERRNO | d.Errno})
	}
	code = append(code, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0)
}

// outcome is what is left of a scene.
type outcome struct {
	status                syscall.WaitStatus
	stderr, console, kmsg string
	report                *report // nil if the next program did not run
}

type report struct {
	PID         int
	Args        []string
	Env         []string
	Mounts      string
	Descriptors map[string]string
}

// next is where the program lies that the shim executes.
const next = "/bin/next program"

// play runs the shim for an architecture in a scene.
func play(t *testing.T, arch, next string, s scene) outcome {
	t.Helper()
	image, err := Binary(arch, next)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.Root, "init", string(image), 0o755)
	if arch != runtime.GOARCH {
		s.Emulator = "/emulator"
	}
	if s.ParentPIDNamespace, err = os.Readlink("/proc/self/ns/pid"); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{sceneVariable + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC}
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		if errors.Is(err, syscall.EPERM) {
			testneed.Missing(t, "root", "no namespaces: "+err.Error())
		}
		t.Fatal(err)
	}
	if strings.HasPrefix(string(out), "scene:") {
		t.Fatalf("%s", out)
	}
	result := outcome{
		status: cmd.ProcessState.Sys().(syscall.WaitStatus),
		stderr: string(out) + read(t, s.Root, "stderr"), console: read(t, s.Root, "console"), kmsg: read(t, s.Root, "kmsg"),
	}
	if text := read(t, s.Root, "report.json"); text != "" {
		result.report = new(report)
		if err := json.Unmarshal([]byte(text), result.report); err != nil {
			t.Fatal(err)
		}
	}
	return result
}

// newRoot returns a root folder with the program that the shim executes and files for
// what it prints. Its path has no symbolic link.
func newRoot(t *testing.T, arch string) string {
	t.Helper()
	testneed.Root(t)
	root := t.TempDir()
	if arch != runtime.GOARCH {
		emulator := map[string]string{"amd64": "qemu-x86_64-static", "arm64": "qemu-aarch64-static"}[arch]
		testneed.Tool(t, emulator)
		path, _ := testneed.Look(emulator)
		copyFile(t, path, root, "emulator")
	}
	copyFile(t, probe(t), root, next)
	for _, name := range []string{"console", "kmsg", "stderr"} {
		write(t, root, name, "", 0o600)
	}
	return root
}

var probeFile string

// probe builds testdata/probe once.
func probe(t *testing.T) string {
	t.Helper()
	if probeFile != "" {
		return probeFile
	}
	dir, err := os.MkdirTemp("", "shim-probe")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "probe")
	buildProbe(t, runtime.GOARCH, file)
	probeFile = file
	return file
}

func buildProbe(t *testing.T, arch, file string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v: %s", err, out)
	}
}

func copyFile(t *testing.T, from, root, name string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, name, string(b), 0o755)
}

func write(t *testing.T, root, name, content string, perm os.FileMode) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), perm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// onEach runs a test for both architectures: one of them under QEMU's user mode emulation.
func onEach(t *testing.T, test func(t *testing.T, arch string)) {
	for _, arch := range arches {
		t.Run(arch, func(t *testing.T) { test(t, arch) })
	}
}

// mountsOf maps a mount point to its type and options, per mount and per superblock.
func mountsOf(t *testing.T, mountinfo string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(mountinfo) {
		mount, super, ok := strings.Cut(strings.TrimSpace(line), " - ")
		m, s := strings.Fields(mount), strings.Fields(super)
		if !ok || len(m) < 6 || len(s) < 3 {
			t.Fatalf("mountinfo line %q", line)
		}
		if old := found[m[4]]; old != "" {
			t.Errorf("%s is mounted twice: %s, then %s", m[4], old, line)
		}
		found[m[4]] = s[0] + " " + m[5] + " | " + s[2]
	}
	return found
}

// wantMounts are type and mount options in the kernel's order, then superblock options
// that have to be among the others.
var wantMounts = map[string][]string{
	"/dev":     {"devtmpfs rw,nosuid,relatime"},
	"/proc":    {"proc rw,nosuid,nodev,noexec,relatime"},
	"/sys":     {"sysfs rw,nosuid,nodev,noexec,relatime"},
	"/dev/pts": {"devpts rw,nosuid,noexec,relatime", "gid=5", "mode=620", "ptmxmode=666"},
	"/dev/shm": {"tmpfs rw,nosuid,nodev,relatime"}, // 1777 is not shown, as it is the default
	"/run":     {"tmpfs rw,nosuid,nodev,relatime", "mode=755"},
	"/tmp":     {"tmpfs rw,nosuid,nodev,relatime"},
}

func checkMounts(t *testing.T, mountinfo string) {
	t.Helper()
	got := mountsOf(t, mountinfo)
	for dir, want := range wantMounts {
		mount, super, _ := strings.Cut(got[dir], " | ")
		options := strings.Split(super, ",")
		if mount != want[0] || slices.ContainsFunc(want[1:], func(o string) bool { return !slices.Contains(options, o) }) {
			t.Errorf("%s: %q, want %q", dir, got[dir], want)
		}
		if strings.HasPrefix(want[0], "tmpfs") && len(want) == 1 && strings.Contains(super, "mode=") {
			t.Errorf("%s: %q, want mode 1777", dir, got[dir])
		}
	}
	delete(got, "/")
	delete(got, "/dev/console")
	delete(got, "/dev/kmsg")
	if len(got) != len(wantMounts) {
		t.Errorf("mounts are %v, want those of %v", got, slices.Sorted(maps.Keys(wantMounts)))
	}
}

func checkDescriptors(t *testing.T, got map[string]string, want string) {
	t.Helper()
	for _, fd := range []string{"0", "1", "2"} {
		if got[fd] != want {
			t.Errorf("descriptor %s is %q, want %q", fd, got[fd], want)
		}
	}
	if got["3"] != "" && got["3"] != "other" { // a Go program has its own there
		t.Errorf("descriptor 3 is %q, want none", got["3"])
	}
}

// consoleOfThisMachine is what the standard descriptors have to be: the console, or where
// it cannot be opened, /dev/null.
func consoleOfThisMachine() string {
	fd, err := unix.Open("/dev/console", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "character device 1:3, read and write"
	}
	unix.Close(fd)
	return "character device 5:1, read and write"
}

const panicked = syscall.WaitStatus(syscall.SIGINT) // what reboot gives in a PID namespace

func TestMountsAndConsoleAreMadeInAnEmptyRoot(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(fmt.Sprintf("closed descriptors %v", closed), func(t *testing.T) {
			onEach(t, func(t *testing.T, arch string) {
				got := play(t, arch, next, scene{Root: newRoot(t, arch), Closed: closed})
				if got.status != 0 || got.report == nil {
					t.Fatalf("status %#x, output %q", got.status, got.stderr)
				}
				checkMounts(t, got.report.Mounts)
				checkDescriptors(t, got.report.Descriptors, consoleOfThisMachine())
				if got.report.PID != 1 || got.stderr != "" {
					t.Errorf("pid %d, output %q, want 1 and none", got.report.PID, got.stderr)
				}
			})
		})
	}
}

func TestArgumentsAndEnvironmentArePassedOn(t *testing.T) {
	onEach(t, func(t *testing.T, arch string) {
		args := []string{"", "two words", "--flag=\n", strings.Repeat("x", 3000)}
		env := []string{"HOME=/", "TERM=linux", "volant.api_port=7777", "EMPTY="}
		for n := range 3 { // the number of arguments moves the environment on the stack
			s := scene{Root: newRoot(t, arch), Args: args[:len(args)-n], Env: env[:len(env)-n]}
			got := play(t, arch, next, s)
			if got.report == nil {
				t.Fatalf("status %#x, output %q", got.status, got.stderr)
			}
			if want := append([]string{next}, s.Args...); !slices.Equal(got.report.Args, want) {
				t.Errorf("arguments %q, want %q", got.report.Args, want)
			}
			// An emulator may pass the environment on in another order.
			if got, want := slices.Sorted(slices.Values(got.report.Env)), slices.Sorted(slices.Values(s.Env)); !slices.Equal(got, want) {
				t.Errorf("environment %q, want %q", got, want)
			}
		}
	})
}

// Of the filesystems, devtmpfs and sysfs are one for the whole machine, which a mount point has
// once; each mount of the others is a new one.
func TestFilesystemsThatAreMountedAlreadyAreFine(t *testing.T) {
	onEach(t, func(t *testing.T, arch string) {
		root := newRoot(t, arch)
		mkdirs(t, root, "dev", "proc", "sys", "run", "tmp")
		got := play(t, arch, next, scene{Root: root, Capture: "mount"})
		if got.report == nil {
			t.Fatalf("status %#x, output %q", got.status, got.stderr)
		}
		checkMounts(t, got.report.Mounts)
		checkDescriptors(t, got.report.Descriptors, "file, read and write")
		if got.console+got.kmsg+got.stderr != "" {
			t.Errorf("console %q, kmsg %q, stderr %q, want nothing", got.console, got.kmsg, got.stderr)
		}
	})
}

func TestWhatCannotBeMountedIsReportedAndLeftOut(t *testing.T) {
	const devptsFlags = unix.MS_NOSUID | unix.MS_NOEXEC
	everything := []string{"/dev", "/proc", "/sys", "/dev/pts", "/dev/shm", "/run", "/tmp"}
	readOnly := ""
	for _, dir := range everything {
		readOnly += "INIT WARNING: making " + dir + ": read-only file system (30)\n"
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, root string)
		capture string
		deny    []deny
		want    string
		missing []string
	}{
		{
			name: "kernel without devpts", capture: "mount",
			deny:    []deny{{unix.SYS_MOUNT, 3, devptsFlags, uint32(syscall.ENODEV)}},
			want:    "INIT WARNING: mounting devpts on /dev/pts: no such device (19)\n",
			missing: []string{"/dev/pts"},
		},
		{
			name: "kernel without all", capture: "folder",
			deny: []deny{{unix.SYS_MOUNT, -1, 0, uint32(syscall.ENODEV)}},
			want: "INIT WARNING: mounting devtmpfs on /dev: no such device (19)\n" +
				"INIT WARNING: mounting proc on /proc: no such device (19)\n" +
				"INIT WARNING: mounting sysfs on /sys: no such device (19)\n" +
				"INIT WARNING: mounting devpts on /dev/pts: no such device (19)\n" +
				"INIT WARNING: mounting tmpfs on /dev/shm: no such device (19)\n" +
				"INIT WARNING: mounting tmpfs on /run: no such device (19)\n" +
				"INIT WARNING: mounting tmpfs on /tmp: no such device (19)\n",
			missing: everything,
		},
		{
			name: "mount points that cannot be made", capture: "mount",
			deny:    []deny{{unix.SYS_MKDIRAT, 2, 0o755, uint32(syscall.EROFS)}},
			want:    readOnly,
			missing: everything,
		},
		{
			name: "mount point that is a file", capture: "mount",
			prepare: func(t *testing.T, root string) {
				if err := os.Remove(filepath.Join(root, "tmp")); err != nil {
					t.Fatal(err)
				}
				write(t, root, "tmp", "", 0o644)
			},
			want:    "INIT WARNING: mounting tmpfs on /tmp: not a directory (20)\n",
			missing: []string{"/tmp"},
		},
		{
			name: "mount point that is a symbolic link to nowhere", capture: "mount",
			prepare: func(t *testing.T, root string) {
				if err := os.Remove(filepath.Join(root, "run")); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink("/var/run", filepath.Join(root, "run")); err != nil {
					t.Fatal(err)
				}
			},
			want:    "INIT WARNING: mounting tmpfs on /run: no such file or directory (2)\n",
			missing: []string{"/run"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, arch string) {
				root := newRoot(t, arch)
				mkdirs(t, root, "dev", "proc", "sys", "run", "tmp")
				if test.capture == "folder" {
					write(t, root, "dev/console", "", 0o600)
					write(t, root, "dev/kmsg", "", 0o600)
				}
				if test.prepare != nil {
					test.prepare(t, root)
				}
				got := play(t, arch, next, scene{Root: root, Capture: test.capture, Deny: test.deny})
				if got.console != test.want || got.kmsg != test.want {
					t.Errorf("console %q, kmsg %q, want %q", got.console, got.kmsg, test.want)
				}
				if got.report == nil || got.status != 0 {
					t.Fatalf("the next program did not run: status %#x", got.status)
				}
				if slices.Contains(test.missing, "/proc") {
					if want := "open /proc/self/mountinfo: no such file or directory"; got.report.Mounts != want {
						t.Errorf("mounts are %q, want that there is no /proc: %q", got.report.Mounts, want)
					}
					return
				}
				mounted := mountsOf(t, got.report.Mounts)
				for dir := range wantMounts {
					if missing := slices.Contains(test.missing, dir); missing != (mounted[dir] == "") {
						t.Errorf("%s: %q, want it to be missing: %v", dir, mounted[dir], missing)
					}
				}
			})
		})
	}
}

// TestNodesAreMadeWhereNoDevtmpfsIs takes mount away, but lets it look successful, as
// messages would go to this machine's console and log.
func TestNodesAreMadeWhereNoDevtmpfsIs(t *testing.T) {
	onEach(t, func(t *testing.T, arch string) {
		root := newRoot(t, arch)
		got := play(t, arch, next, scene{
			Root: root, Closed: true, Deny: []deny{{unix.SYS_MOUNT, -1, 0, uint32(syscall.EBUSY)}},
		})
		if got.report == nil {
			t.Fatalf("status %#x, output %q", got.status, got.stderr)
		}
		checkDescriptors(t, got.report.Descriptors, consoleOfThisMachine())
		for name, want := range map[string]uint64{"console": unix.Mkdev(5, 1), "null": unix.Mkdev(1, 3), "kmsg": unix.Mkdev(1, 11)} {
			var s unix.Stat_t
			if err := unix.Lstat(filepath.Join(root, "dev", name), &s); err != nil || s.Rdev != want || s.Mode&unix.S_IFMT != unix.S_IFCHR {
				t.Errorf("/dev/%s: %v, mode %o, device %x, want a character device %x", name, err, s.Mode, s.Rdev, want)
			}
		}
	})
}

func TestDescriptorsAreOpenWithoutAConsole(t *testing.T) {
	onEach(t, func(t *testing.T, arch string) {
		root := newRoot(t, arch)
		mkdirs(t, root, "dev/console", "dev/kmsg") // folders cannot be opened for writing
		write(t, root, "stderr", "", 0o600)
		got := play(t, arch, next, scene{
			Root: root, Stderr: true, Deny: []deny{{unix.SYS_MOUNT, -1, 0, uint32(syscall.EBUSY)}},
		})
		if got.report == nil {
			t.Fatalf("status %#x, output %q", got.status, got.stderr)
		}
		checkDescriptors(t, got.report.Descriptors, "character device 1:3, read and write")
		if want := "INIT WARNING: opening /dev/console: is a directory (21)\n"; got.stderr != want {
			t.Errorf("the kernel's console got %q, want %q", got.stderr, want)
		}
	})
}

func TestPanicSaysWhatIsWrongWithTheNextProgram(t *testing.T) {
	long := "/" + strings.Repeat("d/", (MaxPath-3)/2) + "xy"
	tests := []struct {
		name, next string
		prepare    func(t *testing.T, root string)
		want       string
	}{
		{"missing", "/bin/kestrel", nil, `executing "/bin/kestrel": no such file or directory (2)`},
		{
			"not executable", "/next", func(t *testing.T, root string) { write(t, root, "next", "#!/bin/sh\n", 0o644) },
			`executing "/next": permission denied (13)`,
		},
		{
			"not an ELF", "/next", func(t *testing.T, root string) { write(t, root, "next", "hello\n", 0o755) },
			`executing "/next": exec format error (8)`,
		},
		{
			"empty", "/next", func(t *testing.T, root string) { write(t, root, "next", "", 0o755) },
			`executing "/next": exec format error (8)`,
		},
		{"directory", "/bin", nil, `executing "/bin": permission denied (13)`},
		{
			"below a file", "/next/x", func(t *testing.T, root string) { write(t, root, "next", "", 0o755) },
			`executing "/next/x": not a directory (20)`,
		},
		{
			"links in a circle", "/next", func(t *testing.T, root string) {
				if err := os.Symlink("next", filepath.Join(root, "next")); err != nil {
					t.Fatal(err)
				}
			},
			`executing "/next": too many levels of symbolic links (40)`,
		},
		{"name too long", "/" + strings.Repeat("n", 256), nil, `executing "/` + strings.Repeat("n", 256) + `": file name too long (36)`},
		{"longest path", long, nil, `executing "` + long + `": no such file or directory (2)`},
		{"control characters", "/a\n\x1b[2J\"\xff é", nil, `executing "/a\n\x1b[2J\"\xff \u00e9": no such file or directory (2)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, arch string) {
				root := newRoot(t, arch)
				mkdirs(t, root, "dev", "proc", "sys", "run", "tmp")
				if test.prepare != nil {
					test.prepare(t, root)
				}
				got := play(t, arch, test.next, scene{Root: root, Capture: "mount", Closed: true})
				want := "INIT PANIC: " + test.want + "\n"
				if got.console != want || got.kmsg != want {
					t.Errorf("console %q, kmsg %q, want %q", got.console, got.kmsg, want)
				}
				if got.status != panicked || got.stderr != "" || got.report != nil {
					t.Errorf("status %#x, stderr %q, want it to power off", got.status, got.stderr)
				}
			})
		})
	}
}

func TestPanicExitsWhereTheMachineCannotBePoweredOff(t *testing.T) {
	onEach(t, func(t *testing.T, arch string) {
		root := newRoot(t, arch)
		mkdirs(t, root, "dev", "proc", "sys", "run", "tmp")
		got := play(t, arch, "/none", scene{
			Root: root, Capture: "mount", Deny: []deny{{unix.SYS_REBOOT, -1, 0, uint32(syscall.EPERM)}},
		})
		if want := "INIT PANIC: executing \"/none\": no such file or directory (2)\n"; got.console != want {
			t.Errorf("console %q, want %q", got.console, want)
		}
		if !got.status.Exited() || got.status.ExitStatus() != 1 {
			t.Errorf("status %#x, want exit status 1", got.status)
		}
	})
}

// TestAnyErrnoIsPrinted has the kernel refuse execve with errnos that have no text, of
// one to four digits, up to the largest there is.
func TestAnyErrnoIsPrinted(t *testing.T) {
	image, err := Binary(runtime.GOARCH, "/none")
	if err != nil {
		t.Skipf("SKIP: no shim for %s", runtime.GOARCH)
	}
	address := dataAddress + strings.Index(string(image), "\x00/none\x00") + 1 - dataOffset
	for errno, text := range map[uint32]string{3: "error (3)", 97: "error (97)", 1: "operation not permitted (1)", 100: "error (100)", 524: "error (524)", 4095: "error (4095)"} {
		root := newRoot(t, runtime.GOARCH)
		mkdirs(t, root, "dev", "proc", "sys", "run", "tmp")
		got := play(t, runtime.GOARCH, "/none", scene{
			Root: root, Capture: "mount", Deny: []deny{{unix.SYS_EXECVE, 0, uint32(address), errno}},
		})
		if want := "INIT PANIC: executing \"/none\": " + text + "\n"; got.console != want || got.status != panicked {
			t.Errorf("errno %d: status %#x, console %q, want %q", errno, got.status, got.console, want)
		}
	}
}

func mkdirs(t *testing.T, root string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
