package testneed

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Mount mounts a filesystem image by a loop device until unmount is called or the
// test ends. options are those of mount(8) beside "loop".
//
// Unmount returns when the kernel has let go of the image. That may be later than
// umount(8): a process that makes a mount namespace, in whatever test that runs at
// the same time, holds a copy of the mount until it ends, and the image has to be
// recovered until then.
func Mount(t testing.TB, image, options string) (dir string, unmount func()) {
	t.Helper()
	Root(t)
	Tool(t, "mount", "umount")
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", strings.Trim("loop,"+options, ","), image, dir).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "loop device") {
			Missing(t, "loop", strings.TrimSpace(string(out)))
		}
		t.Fatalf("mounting %s: %v: %s", image, err, out)
	}
	device := mountedDevice(t, dir)
	var once sync.Once
	unmount = func() {
		once.Do(func() {
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("unmounting %s: %v: %s", dir, err, out)
				return
			}
			if err := released(device, image); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// mountedDevice is the name of the device that is mounted at dir, such as "loop0".
func mountedDevice(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	device := ""
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == dir {
			device = filepath.Base(fields[0]) // of the last line: what is on top
		}
	}
	if device == "" {
		t.Fatalf("%s is not in /proc/self/mounts", dir)
	}
	return device
}

// released waits until a loop device has another file than the image, or none.
func released(device, image string) error {
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		file, err := os.ReadFile(filepath.Join("/sys/block", device, "loop/backing_file"))
		if err != nil || strings.TrimSpace(string(file)) != image {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("/dev/%s holds %s %v after it was unmounted", device, image, patience)
		}
	}
}
