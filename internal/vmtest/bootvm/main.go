// Bootvm boots an image with its manifest the way Volant does, asks the workload for a
// page and prints the answer.
//
//	bootvm [-path /] [-accel tcg|kvm] [-timeout 3m] [-v] IMAGE MANIFEST
//
// It has to run inside the module, because it builds the test agent and looks up the guest
// kernel there. The exit code is 0 if the answer was 2xx.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/volant/fledge-action/internal/vmtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bootvm:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	path := flag.String("path", "/", "what to ask the workload for")
	accel := flag.String("accel", "", "tcg or kvm (default the better that works)")
	timeout := flag.Duration("timeout", 3*time.Minute, "time to the answer")
	verbose := flag.Bool("v", false, "show the console")
	flag.Parse()
	if flag.NArg() != 2 {
		return fmt.Errorf("want IMAGE and MANIFEST, got %d arguments", flag.NArg())
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	scratch, err := os.MkdirTemp("", "bootvm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	c := vmtest.Config{Image: flag.Arg(0), Accel: *accel, Scratch: scratch, Agent: filepath.Join(scratch, "agent")}
	if *verbose {
		c.Console = os.Stderr
	}
	if c.Manifest, err = os.ReadFile(flag.Arg(1)); err != nil {
		return err
	}
	if c.Kernel, err = vmtest.Kernel(ctx); err != nil {
		return err
	}
	if err := vmtest.BuildAgent(ctx, c.Agent); err != nil {
		return err
	}
	vm, err := vmtest.Boot(ctx, c)
	if err != nil {
		return err
	}
	defer vm.Close()
	return show(ctx, vm, *path)
}

func show(ctx context.Context, vm *vmtest.VM, path string) error {
	answer, err := vm.Get(ctx, path)
	if err != nil {
		return err
	}
	health, err := vm.GetAgent(ctx, "/healthz")
	if err != nil {
		return err
	}
	fmt.Printf("GET %s -> %d, Server: %s\n\n%s\n", path, answer.Status, answer.Header.Get("Server"), answer.Body)
	fmt.Printf("agent /healthz -> %d %s", health.Status, health.Body)
	fmt.Printf("first answer %d ms after the start of QEMU (%s)\n", vm.Elapsed.Milliseconds(), vm.Accel)
	if answer.Status/100 != 2 {
		return fmt.Errorf("the answer to GET %s is %d", path, answer.Status)
	}
	return nil
}
