package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/volant/fledge-action/internal/boot"
	"github.com/volant/fledge-action/manifest"
)

// Config says what to boot.
type Config struct {
	Artifact string // root filesystem image or initramfs, not changed
	Manifest []byte // JSON of the plugin manifest
	Kernel   string // bzImage, see Kernel
	Agent    string // static program to start a rootfs with, see BuildAgent; "" for the image's own
	Scratch  string // folder for temporary files

	Console io.Writer // also gets the console's output, if set
}

// A VM is a running machine. Close has to be called.
type VM struct {
	Accel   string        // the one in use
	Elapsed time.Duration // from the start of QEMU to the workload's first good answer

	vm     *boot.VM
	plugin *boot.Plugin
	kernel *boot.Kernel
}

// patience is for machines that share their processors with much else.
const patience = 5 * time.Minute

// agentPort is where the agent answers in the guest.
const agentPort = 8080

// Boot starts a machine and returns when its workload answers the health check's
// endpoint and the agent says that it is ready, as boot.VM.Wait does. If it does not get
// there the error holds the end of the console's output, and nothing is left running.
func Boot(ctx context.Context, c Config) (*VM, error) {
	vm, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := vm.start(ctx, c); err != nil {
		vm.Close()
		return nil, fmt.Errorf("booting %q: %w", c.Artifact, err)
	}
	return vm, nil
}

func open(ctx context.Context, c Config) (*VM, error) {
	m, err := manifest.Decode(bytes.NewReader(c.Manifest))
	if err != nil {
		return nil, err
	}
	plugin, err := boot.OpenWith(ctx, c.Artifact, m, nil)
	if err != nil {
		return nil, err
	}
	kernel, err := boot.FindKernel(ctx, boot.KernelRequest{Path: c.Kernel, Arch: plugin.Arch})
	if err != nil {
		return nil, errors.Join(err, plugin.Close())
	}
	return &VM{plugin: plugin, kernel: kernel}, nil
}

func (vm *VM) start(ctx context.Context, c Config) error {
	qemu, err := boot.FindQEMU(vm.kernel.Arch, "", os.Getenv("PATH"))
	if err != nil {
		return err
	}
	vm.vm, err = boot.Start(ctx, boot.Options{
		Plugin: vm.plugin, Kernel: vm.kernel, QEMU: qemu, CPUs: 1, HasAgent: boot.AgentNo, Agent: c.Agent,
		Timeout: patience,
		Ports:   []int{agentPort}, TempDir: c.Scratch, Console: c.Console,
	})
	if err != nil {
		return err
	}
	if err := vm.vm.Wait(ctx); err != nil {
		return err
	}
	vm.Accel, vm.Elapsed = vm.vm.Result.Accel, vm.vm.Result.Elapsed
	for { // the agent asks the workload too, and answers after that
		if answer, err := vm.GetAgent(ctx, "/healthz"); err == nil && answer.Status == 200 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: the agent does not answer", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// An Answer is what came back over HTTP.
type Answer = boot.Answer

// Get asks the workload for a path, which starts with a slash.
func (vm *VM) Get(ctx context.Context, path string) (Answer, error) { return vm.vm.Get(ctx, 0, path) }

// GetAgent asks the agent for a path, which starts with a slash.
func (vm *VM) GetAgent(ctx context.Context, path string) (Answer, error) {
	return vm.vm.Get(ctx, agentPort, path)
}

// Close ends the machine and waits until it is gone. It may be called more than once.
func (vm *VM) Close() {
	if vm.vm != nil {
		vm.vm.Close()
	}
	_ = vm.plugin.Close()
	_ = vm.kernel.Close()
}
