package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/internal/tool"
)

// The machine's network, which has Volant's addresses.
const (
	guestIP = "192.168.127.2"
	hostIP  = "192.168.127.1"
	prefix  = "24"
	subnet  = "192.168.127.0/" + prefix
	netmask = "255.255.255.0"
	apiPort = 7777
)

// Accelerators.
const (
	AccelAuto = "auto"
	AccelKVM  = "kvm"
	AccelTCG  = "tcg"
)

// A machine is what QEMU is asked to be.
type machine struct {
	qemu      string // path of the emulator
	arch      string // in Go's words
	accel     string // AccelKVM or AccelTCG
	cpus      int
	memoryMiB int
	kernel    string // name by which QEMU opens it, as the next two
	initramfs string // "" for none
	disk      string // "" for none
	line      string // of the kernel
	network   bool
	forwards  []forward
}

// A forward leads from a loopback port of the host to one of the guest.
type forward struct{ host, guest int }

// argv is QEMU's command line. The serial port is on standard output; there is no
// display, no monitor and no configuration of the user's.
func (m machine) argv() []string {
	args := []string{
		m.qemu, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio",
		"-machine", boards[m.arch].machine, "-smp", strconv.Itoa(m.cpus), "-m", strconv.Itoa(m.memoryMiB),
	}
	if m.accel == AccelKVM {
		args = append(args, "-accel", "kvm", "-cpu", "host")
	} else {
		args = append(args, "-accel", "tcg,tb-size=256", "-cpu", "max")
	}
	args = append(args, "-kernel", m.kernel)
	if m.initramfs != "" {
		args = append(args, "-initrd", m.initramfs)
	}
	args = append(args, "-append", m.line)
	if m.disk != "" {
		// Writes go to a temporary file that QEMU removes at once.
		args = append(args, "-drive", "file="+option(m.disk)+",format=raw,if=none,id=root,snapshot=on",
			"-device", "virtio-blk-pci,drive=root")
	}
	if m.network {
		net := "user,id=net,restrict=on,net=" + subnet + ",host=" + hostIP
		for _, f := range m.forwards {
			net += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-%s:%d", f.host, guestIP, f.guest)
		}
		args = append(args, "-netdev", net, "-device", "virtio-net-pci,netdev=net,romfile=")
	}
	return args
}

// option writes a value of a QEMU option, in which a comma is doubled.
func option(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// A board is what QEMU has for an architecture.
type board struct {
	program string
	machine string
	console string // as the kernel names it
	debian  string // package
	fedora  string // package
}

var boards = map[string]board{
	"amd64": {"qemu-system-x86_64", "q35", "ttyS0", "qemu-system-x86", "qemu-system-x86-core"},
	"arm64": {"qemu-system-aarch64", "virt", "ttyAMA0", "qemu-system-arm", "qemu-system-aarch64-core"},
}

// FindQEMU finds the emulator for an architecture: the given file, or the program
// on path, a list as in $PATH. Its error says what to install.
func FindQEMU(arch, file, path string) (string, error) {
	b, ok := boards[arch]
	if !ok {
		return "", fmt.Errorf("finding QEMU: the plugin is for %q; boot knows amd64 and arm64", arch)
	}
	if file == "" {
		file = b.program
	}
	found, err := tool.Look(file, path)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("finding QEMU: %s is not on PATH; install it (Debian, Ubuntu: apt-get install %s; Fedora: dnf install %s; macOS: brew install qemu) or name it with --qemu",
			file, b.debian, b.fedora)
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("finding QEMU: %s: no such file", file)
	case err != nil:
		return "", fmt.Errorf("finding QEMU: %w", err)
	}
	return found, nil
}

// Bounds of what a machine gets unless the caller says otherwise. A plugin's
// wishes are for a Volant host; a test runs beside other work, and emulated
// processors cost more than they bring.
const (
	mostMemoryMiB = 4096
	mostTCGCPUs   = 2
	mostCPUs      = 8
)

// size decides processors and memory from what the caller and the manifest say
// and what the host has; 0 stands for nothing said.
func size(accel string, hostCPUs, cpus, wantCPUs, memoryMiB, wantMiB int) (int, int) {
	if cpus == 0 {
		most := min(mostCPUs, hostCPUs)
		if accel == AccelTCG {
			most = min(most, mostTCGCPUs)
		}
		cpus = max(1, min(wantCPUs, most))
	}
	if memoryMiB == 0 {
		memoryMiB = max(1, min(wantMiB, mostMemoryMiB))
	}
	return cpus, memoryMiB
}
