package shim

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

// The tests in this file boot a real kernel in QEMU with nothing but the shim and the
// next program in the initramfs. Root is not needed.

// ARM64KernelVariable names an arm64 kernel ("Image" or a compressed one that QEMU
// takes) to boot as well, with qemu-system-aarch64. Without it only amd64 is booted.
const ARM64KernelVariable = "FLEDGE_TEST_KERNEL_ARM64"

// kernels maps the architectures that can be booted here to kernels.
func kernels(t *testing.T) map[string]string {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIP: boots machines; not with -short")
	}
	testneed.Tool(t, vmtest.Program, "cpio")
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	all := map[string]string{"amd64": kernel}
	if path := os.Getenv(ARM64KernelVariable); path != "" {
		testneed.Tool(t, "qemu-system-aarch64")
		all["arm64"] = path
	}
	return all
}

// machineArgs are those that an architecture needs. The console is the serial port.
var machineArgs = map[string][]string{
	"amd64": {vmtest.Program, "-machine", "q35", "-accel", "tcg", "-cpu", "max"},
	"arm64": {"qemu-system-aarch64", "-machine", "virt", "-accel", "tcg", "-cpu", "cortex-a57"},
}

var consoleDevice = map[string]string{"amd64": "ttyS0", "arm64": "ttyAMA0"}

// boot starts a machine with the files of root as its initramfs, waits until it has
// ended by itself, and returns what the console showed.
func boot(t *testing.T, arch, kernel, root, line string) string {
	t.Helper()
	dir := t.TempDir()
	initramfs := filepath.Join(dir, "initramfs.cpio")
	cpio, _ := testneed.Look("cpio")
	pack := exec.Command("sh", "-c", `find . | "$0" --quiet -o -H newc > "$1"`, cpio, initramfs)
	pack.Dir = root
	if out, err := pack.CombinedOutput(); err != nil {
		t.Fatalf("packing: %v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	argv := append(slices.Clone(machineArgs[arch]), "-no-user-config", "-nodefaults", "-display", "none",
		"-no-reboot", "-smp", "1", "-m", "512", "-serial", "stdio", "-monitor", "none",
		"-kernel", kernel, "-initrd", initramfs,
		"-append", "console="+consoleDevice[arch]+" reboot=k panic=1 "+line)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	console := strings.ReplaceAll(string(out), "\r\n", "\n")
	if err != nil {
		t.Fatalf("the machine did not end by itself: %v; console:\n%s", err, console)
	}
	return console
}

// bootRoot returns a folder with the shim and, unless it is "", the next program.
func bootRoot(t *testing.T, arch, next, program string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, root, Path, string(binaryOf(t, arch, next)), 0o755)
	if program != "" {
		copyFile(t, program, root, next)
	}
	return root
}

func TestKernelBootsToTheNextProgram(t *testing.T) {
	for arch, kernel := range kernels(t) {
		t.Run(arch, func(t *testing.T) {
			console := boot(t, arch, kernel, bootRoot(t, arch, next, probeFor(t, arch)), "quiet loglevel=1 POWEROFF=yes -- one two")
			m := regexp.MustCompile(`(?m)^REPORT (.*)$`).FindStringSubmatch(console)
			if m == nil {
				t.Fatalf("no report on the console:\n%s", console)
			}
			var r report
			if err := json.Unmarshal([]byte(m[1]), &r); err != nil {
				t.Fatalf("%v: %s", err, m[1])
			}
			checkMounts(t, r.Mounts)
			checkDescriptors(t, r.Descriptors, "character device 5:1, read and write")
			if want := []string{next, "one", "two"}; !slices.Equal(r.Args, want) {
				t.Errorf("arguments %q, want %q", r.Args, want)
			}
			if want := []string{"HOME=/", "TERM=linux", "POWEROFF=yes"}; !slices.Equal(r.Env, want) {
				t.Errorf("environment %q, want %q", r.Env, want)
			}
			if r.PID != 1 || strings.Contains(console, "INIT ") {
				t.Errorf("pid %d, console:\n%s", r.PID, console)
			}
		})
	}
}

func TestKernelIsPoweredOffWithoutTheNextProgram(t *testing.T) {
	for arch, kernel := range kernels(t) {
		t.Run(arch, func(t *testing.T) {
			// As Volant boots: only the line is to be seen, and all of it, although a serial
			// port takes it bit by bit.
			long := strings.Repeat("/0123456789", 350)
			line := `INIT PANIC: executing "` + long + `": no such file or directory (2)`
			console := boot(t, arch, kernel, bootRoot(t, arch, long, ""), "quiet loglevel=1")
			if !strings.Contains("\n"+console, "\n"+line+"\n") || strings.Contains(console, "Kernel panic") {
				t.Errorf("console:\n%s\nwant the whole line %s and no panic of the kernel", console, line)
			}
			// With the kernel's log on the console, the line comes after the kernel's start
			// and before the power goes.
			line = `INIT PANIC: executing "/bin/kestrel": no such file or directory (2)`
			console = boot(t, arch, kernel, bootRoot(t, arch, agent, ""), "loglevel=7")
			order := regexp.MustCompile(`(?s)Run /init as init process.*\] ` + regexp.QuoteMeta(line) + `\n.*reboot: Power down`)
			if !order.MatchString(console) {
				t.Errorf("console:\n%s\nwant the line in the kernel's log, then power down", console)
			}
		})
	}
}

// probeFor builds the probe for an architecture.
func probeFor(t *testing.T, arch string) string {
	t.Helper()
	if arch == runtime.GOARCH {
		return probe(t)
	}
	file := filepath.Join(t.TempDir(), "probe")
	buildProbe(t, arch, file)
	return file
}
