package vmtest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// accel is found once per process: the machine does not change.
var accel struct {
	once sync.Once
	name string
}

// Accel returns "kvm" if a guest really comes up with it and "tcg" otherwise. A
// /dev/kvm that opens is not enough: nested ones may emulate too little for a kernel to start.
func Accel(ctx context.Context, c Config) string {
	accel.once.Do(func() {
		accel.name = "tcg"
		if virtualizes() && probes(ctx, c) {
			accel.name = "kvm"
		}
	})
	return accel.name
}

// virtualizes reports whether the processor claims to run guests.
func virtualizes() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	flags := strings.Fields(string(info))
	for _, flag := range flags {
		if flag == "vmx" || flag == "svm" {
			return true
		}
	}
	return false
}

// probeTime is plenty for a kernel under KVM to start one program.
const probeTime = 10 * time.Second

// probes boots the kernel with KVM and waits for a word from the agent.
func probes(ctx context.Context, c Config) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	dir, err := os.MkdirTemp(c.Scratch, "probe")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	initramfs := filepath.Join(dir, "initramfs.cpio")
	if err := makeInitramfs(initramfs, c.Agent); err != nil {
		return false
	}
	c.Image = ""
	vm, err := launch(ctx, Config{Scratch: dir}, argv(c, "kvm", initramfs, "console=ttyS0 reboot=k panic=1 quiet testagent.probe", nil))
	if err != nil {
		return false
	}
	<-vm.exited
	vm.Close()
	return strings.Contains(vm.Console(), "testagent: probe")
}
