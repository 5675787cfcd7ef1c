package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A ModularKernel is a distribution's kernel, whose drivers are modules.
type ModularKernel struct {
	Image   string // a bzImage
	Modules string // lib/modules/VERSION
}

// kernelPackage depends on the newest kernel for virtual machines.
const kernelPackage = "linux-image-cloud-amd64"

// FetchKernel gets the kernel of the machine's release from its packages. Nothing is
// installed. It is kept below dir by its version.
func FetchKernel(ctx context.Context, dir string) (ModularKernel, error) {
	var k ModularKernel
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--no-recommends", "--no-suggests", kernelPackage).Output()
	if err != nil {
		return k, fmt.Errorf("asking apt for %s: %w", kernelPackage, err)
	}
	_, after, ok := strings.Cut(string(out), "Depends: ")
	name := strings.TrimSpace(strings.SplitN(after, "\n", 2)[0])
	if !ok || !strings.HasPrefix(name, "linux-image-") {
		return k, fmt.Errorf("asking apt for %s: no kernel in %q", kernelPackage, out)
	}
	root, err := cached(ctx, dir, "kernel-"+name, func(path string) error {
		work, err := os.MkdirTemp(dir, "deb-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if err := run(ctx, io.Discard, nil, "sh", "-c", `cd "$1" && apt-get -q -o APT::Sandbox::User=root download "$2"`, "sh", work, name); err != nil {
			return err
		}
		debs, err := filepath.Glob(filepath.Join(work, "*.deb"))
		if err != nil || len(debs) != 1 {
			return errors.Join(fmt.Errorf("apt has downloaded %d packages", len(debs)), err)
		}
		return run(ctx, io.Discard, nil, "dpkg-deb", "-x", debs[0], path)
	})
	if err != nil {
		return k, fmt.Errorf("fetching %s: %w", name, err)
	}
	version := strings.TrimPrefix(name, "linux-image-")
	k = ModularKernel{filepath.Join(root, "boot", "vmlinuz-"+version), filepath.Join(root, "lib", "modules", version)}
	_, err = os.Stat(k.Image)
	return k, err
}
