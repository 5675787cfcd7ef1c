package vmtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	// The module with the guest kernel; this keeps it in go.mod.
	_ "github.com/gokrazy/kernel.amd64"
)

// Program is the emulator.
const Program = "qemu-system-x86_64"

const (
	kernelModule = "github.com/gokrazy/kernel.amd64"
	agentPackage = "github.com/volant/fledge-action/internal/vmtest/testagent"
)

// KernelVariable names a bzImage to boot instead of the module's.
const KernelVariable = "FLEDGE_TEST_KERNEL"

// Kernel returns the path of the guest kernel. It runs the go command, which has to be
// able to see this module.
func Kernel(ctx context.Context) (string, error) {
	if path := os.Getenv(KernelVariable); path != "" {
		return path, nil
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", kernelModule).Output()
	if err != nil {
		return "", fmt.Errorf("finding the kernel module: %w; set %s to a bzImage", err, KernelVariable)
	}
	path := filepath.Join(strings.TrimSpace(string(out)), "vmlinuz")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("finding the kernel: %w", err)
	}
	return path, nil
}

// BuildAgent builds the test agent, a static program, at path.
func BuildAgent(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", path, agentPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the test agent: %w: %s", err, out)
	}
	return nil
}
