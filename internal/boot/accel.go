package boot

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/internal/tool"
)

// probeTime is plenty for a kernel under KVM to start one program.
const probeTime = 10 * time.Second

// chooseAccel returns AccelKVM if a guest really comes up with it, else AccelTCG and
// why. A /dev/kvm that opens is not enough: nested ones may emulate too little
// for a kernel to start.
func chooseAccel(ctx context.Context, qemu string, k *Kernel, tempDir string) (accel, why string) {
	if k.Arch != hostArch {
		return AccelTCG, "the plugin is for " + k.Arch + ", this machine is " + hostArch
	}
	if k.Arch != "amd64" {
		return AccelTCG, "KVM is used for amd64 only"
	}
	if why := noKVM("/proc/cpuinfo", "/dev/kvm"); why != "" {
		return AccelTCG, why
	}
	if why := probe(ctx, AccelKVM, qemu, k, tempDir, probeTime); why != "" {
		return AccelTCG, why
	}
	return AccelKVM, ""
}

// noKVM tells what is missing for KVM to be worth a try, "" if nothing is.
func noKVM(cpuinfo, device string) string {
	info, err := os.ReadFile(cpuinfo)
	if err != nil {
		return "no " + cpuinfo + " tells whether the processor runs guests"
	}
	flags := strings.Fields(string(info))
	if !slices.Contains(flags, "vmx") && !slices.Contains(flags, "svm") {
		return "the processor has neither vmx nor svm"
	}
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err.Error()
	}
	_ = f.Close()
	return ""
}

// probe boots the kernel and waits for a word from user space. It returns what
// went wrong, "" if nothing did.
func probe(ctx context.Context, accel, qemu string, k *Kernel, tempDir string, limit time.Duration) (why string) {
	initramfs, err := spoolArchive(tempDir, probeRecords())
	if err != nil {
		return err.Error()
	}
	defer initramfs.Close()
	var h handover
	m := machine{
		qemu: qemu, arch: k.Arch, accel: accel, cpus: 1, memoryMiB: 256,
		kernel: h.name(k.temporary), initramfs: h.name(initramfs),
		line: "console=ttyS0 reboot=k panic=1 quiet rdinit=/" + probeName,
	}
	seen := newConsole(consoleOptions{waitFor: probeLine})
	p, err := tool.Start(tool.Command{Argv: m.argv(), Env: environment(tempDir), Files: h.files, Stdout: seen})
	if err != nil {
		return err.Error()
	}
	defer p.Kill()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-seen.matched:
		return ""
	case <-p.Done():
		if p.Err() != nil {
			return "a guest with " + accel + " does not start: " + p.Err().Error()
		}
		return "a guest with " + accel + " ended before it was up"
	case <-timer.C:
		return "no guest with " + accel + " came up in " + limit.String()
	case <-ctx.Done():
		return ctx.Err().Error()
	}
}

// environment is what QEMU needs of it: where snapshots go.
func environment(tempDir string) []string {
	if tempDir == "" {
		tempDir = os.TempDir()
	}
	return []string{"TMPDIR=" + tempDir}
}
