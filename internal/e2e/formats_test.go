package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
)

var modular shared[ModularKernel]

// needModularKernel returns a distribution's kernel, which has a module for every format.
func needModularKernel(t *testing.T) ModularKernel {
	t.Helper()
	testneed.Tool(t, vmtest.Program, "apt-get", "apt-cache", "dpkg-deb", "busybox")
	if out, err := exec.CommandContext(t.Context(), "apt-cache", "show", kernelPackage).CombinedOutput(); err != nil {
		testneed.Missing(t, "kernel", "apt knows no "+kernelPackage+": "+string(out))
	}
	return modular.get(t, func() (ModularKernel, error) {
		cache, err := testneed.CacheDir()
		if err != nil {
			cache = filepath.Join(scratch, "cache")
		}
		return FetchKernel(context.Background(), cache)
	})
}

// bootFormat boots an image of nginx with the flags that a build tells of.
func bootFormat(t *testing.T, b build, flags ...string) (string, error) {
	t.Helper()
	k := needModularKernel(t)
	busybox, err := testneed.Look("busybox")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, needProgram(t), append([]string{
		"boot", b.image, "--kernel", k.Image, "--modules", k.Modules, "--busybox", busybox, "--accel", "tcg", "--timeout", "3m",
	}, flags...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + os.TempDir()}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// wantBoot boots an image of a format, and sees that it does not without the word on the
// kernel's command line that Volant would need.
func wantBoot(t *testing.T, b build, format string) {
	t.Helper()
	word := "volant.rootfs_fstype=" + format
	out, err := bootFormat(t, b, "--kernel-cmdline", word)
	if err != nil || !strings.Contains(out, "\nPASS ") {
		t.Errorf("%v: %s", err, tail(out, 30))
	}
	if out, err := bootFormat(t, b); err == nil || !strings.Contains(out, word) {
		t.Errorf("without the word: %v: %s", err, tail(out, 10))
	}
}

func TestASquashfsBootsWithAKernelOfModules(t *testing.T) {
	wantBoot(t, needSquashed(t), "squashfs")
}

// TestAnImageBootsWithAKernelOfModules is the kernel without IP_PNP and with every
// driver a module, and the format that Volant mounts.
func TestAnImageBootsWithAKernelOfModules(t *testing.T) {
	out, err := bootFormat(t, needBuilt(t))
	if err != nil || !strings.Contains(out, "\nPASS ") {
		t.Errorf("%v: %s", err, tail(out, 30))
	}
}
