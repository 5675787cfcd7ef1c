//go:build linux

// Testagent is process 1 of the machines that tests boot. It stands in for Volant's
// agent and does what that does at boot: it mounts the root filesystem that the kernel command
// line names, if it names one, copies itself there, makes it the root, starts the workload of the
// manifest on the command line exactly as it is written there, waits until it
// is healthy and then serves /healthz on port 8080.
//
// Unlike an agent in service it says why it gives up and powers the machine off.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Lines that the other side looks for on the console.
const (
	readyLine = "testagent: ready"
	fatalLine = "testagent: fatal error in pid1: " // the end of it is the agent's in service
)

const (
	stage2Arg = "stage2"
	newRoot   = "/mnt/volant-root"
	agentPath = "usr/local/bin/kestrel"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "testagent: runs only as process 1 of a test machine")
		os.Exit(2)
	}
	stage := stage1
	if len(os.Args) > 1 && os.Args[1] == stage2Arg {
		stage = stage2
	}
	fmt.Println(fatalLine + stage().Error())
	powerOff()
}

func powerOff() {
	unix.Sync()
	time.Sleep(50 * time.Millisecond) // let the console drain
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// stage1 runs from the initramfs. It returns only if it fails.
func stage1() error {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	fmt.Printf("testagent: started in the place of kestrel, %d.%06d s after the kernel\n", now.Sec, now.Nsec/1000)
	if err := mountAll(earlyMounts); err != nil {
		return err
	}
	line, err := readCommandLine()
	if err != nil {
		return err
	}
	if line["volant.rootfs_device"] == "" {
		return stage2() // the initramfs is the root
	}
	device := "/dev/" + line["volant.rootfs_device"]
	if err := waitFor(device, 10*time.Second); err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot, 0o755); err != nil {
		return err
	}
	fstype := line["volant.rootfs_fstype"]
	if err := unix.Mount(device, newRoot, fstype, 0, ""); err != nil {
		return fmt.Errorf("mounting %s as %s: %w", device, fstype, err)
	}
	if err := copySelf(newRoot + "/" + agentPath); err != nil {
		return fmt.Errorf("copying the agent to the root filesystem: %w", err)
	}
	if err := switchRoot(); err != nil {
		return fmt.Errorf("switching root: %w", err)
	}
	return fmt.Errorf("starting stage 2: %w", unix.Exec("/"+agentPath, []string{"/" + agentPath, stage2Arg}, os.Environ()))
}

func waitFor(path string, limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waiting for %s: %w", path, err)
		}
	}
}

// copySelf puts this program at path, whole or not at all.
func copySelf(path string) error {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(newRoot+"/usr/local/bin", 0o755); err != nil {
		return err
	}
	temporary := path + ".tmp"
	if err := os.WriteFile(temporary, self, 0o755); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// switchRoot makes newRoot the root. The initramfs' own files go, as they take memory.
func switchRoot() error {
	for _, m := range earlyMounts {
		if err := os.MkdirAll(newRoot+m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.target, newRoot+m.target, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("moving %s: %w", m.target, err)
		}
	}
	if err := os.Remove("/init"); err != nil {
		return err
	}
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}

// stage2 runs from the root filesystem, or the initramfs if there is none. It returns only if it fails.
func stage2() error {
	if err := mountAll(lateMounts); err != nil {
		return err
	}
	line, err := readCommandLine()
	if err != nil {
		return err
	}
	m, err := decodeManifest(line["volant.manifest"])
	if err != nil {
		return fmt.Errorf("decoding volant.manifest: %w", err)
	}
	workload, err := start(m.Workload)
	if err != nil {
		return fmt.Errorf("starting the workload: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- reap(workload) }()
	healthy := make(chan error, 1)
	go func() { healthy <- waitHealthy(m) }()
	select {
	case err := <-ended:
		return err
	case err := <-healthy:
		if err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(m, listener) }()
	fmt.Println(readyLine)
	select {
	case err := <-ended:
		return err
	case err := <-served:
		return err
	}
}
