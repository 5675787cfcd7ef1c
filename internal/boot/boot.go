package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/volant/fledge-action/internal/tool"
	"github.com/volant/fledge-action/manifest"
)

const hostArch = runtime.GOARCH

// DefaultTimeout is how long a machine has to become healthy.
const DefaultTimeout = 2 * time.Minute

// Options say how to boot a plugin.
type Options struct {
	Plugin *Plugin
	Kernel *Kernel // for the plugin's architecture
	QEMU   string  // path of the emulator, see FindQEMU

	Accel     string // AccelAuto, which "" means too, AccelKVM or AccelTCG
	CPUs      int    // 0 means the manifest's, within bounds
	MemoryMiB int    // 0 means the manifest's, within bounds
	Extra     string // arguments for the kernel, as a VM's creator adds them

	Modules  *Modules // of the kernel, whose drivers are modules; nil for none
	HasAgent HasAgent // "" means AgentAuto
	Agent    string   // file of a static agent to start a rootfs with, "" for the image's
	Busybox  string   // file of a static busybox for it, "" for the image's

	WaitFor string        // a text on the console that means success, instead of an answer
	Timeout time.Duration // 0 means DefaultTimeout
	Ports   []int         // further ports of the guest to forward, see VM.Get
	TempDir string        // "" is the system's default
	Console io.Writer     // gets the console's output, if set
	Tell    func(string)  // told what is decided, if set
}

// A Result is a boot that passed.
type Result struct {
	Accel      string        // AccelKVM or AccelTCG
	CPUs       int           // that the machine had
	MemoryMiB  int           //
	Elapsed    time.Duration // from the start of QEMU to the good answer, or the text
	AgentAfter time.Duration // from the start of QEMU to the agent's first word on the console, 0 if it said none
	URL        string        // what was asked for, "" with WaitFor
	Status     int           // of the answer, 0 with WaitFor
}

// A VM is a running machine. Close has to be called.
type VM struct {
	Result Result

	o         Options
	check     check
	hint      hint
	initramfs *temporary // made here, nil for none
	machine   machine
	files     handover
	tries     int
	process   *tool.Process
	console   *console
	began     time.Time
	ports     map[int]int // of the host, by the guest's
	port      int         // the workload's, in the guest

	asked chan asked // gets the good answer, or why there is none when stop was called
	stop  context.CancelFunc
}

// asked is what came of asking the workload.
type asked struct {
	status int
	err    error
	at     time.Duration
}

// Run boots a plugin, waits until it passes, and ends the machine. Whatever
// happens, nothing is left running.
func Run(ctx context.Context, o Options) (*Result, error) {
	vm, err := Start(ctx, o)
	if err != nil {
		return nil, err
	}
	defer vm.Close()
	if err := vm.Wait(ctx); err != nil {
		return nil, err
	}
	return &vm.Result, nil
}

// Start starts a machine.
func Start(ctx context.Context, o Options) (*VM, error) {
	m := o.Plugin.Manifest
	vm := &VM{o: o, ports: map[int]int{}}
	var err error
	if o.WaitFor == "" {
		if vm.check, vm.port, err = checkOf(m); err != nil {
			return nil, err
		}
	}
	line, err := m.KernelCommandLine(manifest.Host{
		VM: vmName(m.Name), Address: guestIP, Gateway: hostIP, Netmask: netmask, APIHost: hostIP, APIPort: apiPort,
		Console: boards[o.Kernel.Arch].console, Extra: o.Extra,
	})
	if err != nil {
		return nil, err
	}
	vm.machine = machine{qemu: o.QEMU, arch: o.Kernel.Arch, network: true, kernel: vm.files.name(o.Kernel.temporary), line: line}
	if err := vm.media(ctx); err != nil {
		return nil, err
	}
	if err := vm.chooseSize(ctx); err != nil {
		vm.Close()
		return nil, err
	}
	if err := vm.launch(); err != nil {
		vm.Close()
		return nil, err
	}
	return vm, nil
}

// vmName is the VM's name, which is its host name: a DNS label.
func vmName(plugin string) string {
	const longest = 63
	return strings.TrimRight(plugin[:min(len(plugin), longest)], "-._~")
}

// media attaches the artifact, and what a kernel needs to start it.
func (vm *VM) media(ctx context.Context) error {
	m, p := &vm.machine, vm.o.Plugin
	artifact := vm.files.name(temporary{file: p.file, path: p.Path})
	if p.disk == nil {
		if vm.o.Modules != nil {
			return errors.New("the kernel's modules are for a rootfs; an initramfs has to bring its own")
		}
		m.initramfs = artifact
		return nil
	}
	if err := checkFormat(p.disk.format, vm.o.Extra, vm.o.Kernel); err != nil {
		return err
	}
	m.disk = artifact
	s := starter{
		disk: p.disk, kernel: vm.o.Kernel, has: cmp.Or(vm.o.HasAgent, AgentAuto), agent: vm.o.Agent, busybox: vm.o.Busybox, modules: vm.o.Modules,
	}
	st, err := s.plan(ctx)
	if err != nil {
		return err
	}
	defer st.close()
	vm.hint = st.hint
	if st.records == nil {
		return nil
	}
	vm.tell("the kernel gets an initramfs with the agent, made here")
	initramfs, err := spoolArchive(vm.o.TempDir, st.records)
	if err != nil {
		return err
	}
	vm.initramfs = &initramfs
	m.initramfs = vm.files.name(initramfs)
	return nil
}

// spoolArchive writes an archive to a temporary file.
func spoolArchive(tempDir string, records []record) (temporary, error) {
	t, err := spool(tempDir)
	if err != nil {
		return t, err
	}
	if err := writeArchive(t.file, records); err != nil {
		return t, errors.Join(fmt.Errorf("making the initramfs: %w", err), t.Close())
	}
	return t, nil
}

func (vm *VM) chooseSize(ctx context.Context) error {
	m := &vm.machine
	switch accel := vm.o.Accel; accel {
	case AccelKVM, AccelTCG:
		m.accel = accel
	default:
		why := ""
		if m.accel, why = chooseAccel(ctx, m.qemu, vm.o.Kernel, vm.o.TempDir); why != "" {
			vm.tell("no KVM: " + why)
		}
	}
	r := vm.o.Plugin.Manifest.Resources
	m.cpus, m.memoryMiB = size(m.accel, runtime.NumCPU(), vm.o.CPUs, r.CPUCores, vm.o.MemoryMiB, r.MemoryMB)
	vm.Result = Result{Accel: m.accel, CPUs: m.cpus, MemoryMiB: m.memoryMiB}
	vm.tell(fmt.Sprintf("accelerator %s, %d CPU, %d MiB, kernel %s", m.accel, m.cpus, m.memoryMiB, vm.o.Kernel.Name))
	return ctx.Err()
}

// mostStarts is how often QEMU is started when it fails for a reason that lies in
// this machine and passes.
const mostStarts = 4

// settleTime is how long an answer is not believed, as it might be that somebody's
// and QEMU about to end.
const settleTime = 300 * time.Millisecond

// launch starts QEMU.
func (vm *VM) launch() error {
	vm.tries++
	guestPorts := vm.o.Ports
	if vm.port != 0 {
		guestPorts = append([]int{vm.port}, guestPorts...)
	}
	var err error
	if vm.machine.forwards, err = forwards(guestPorts); err != nil {
		return err
	}
	for _, f := range vm.machine.forwards {
		vm.ports[f.guest] = f.host
	}
	vm.began = time.Now()
	began := vm.began
	vm.console = newConsole(consoleOptions{log: vm.o.Console, waitFor: vm.o.WaitFor, since: func() time.Duration { return time.Since(began) }})
	vm.ask()
	vm.process, err = tool.Start(tool.Command{Argv: vm.machine.argv(), Env: environment(vm.o.TempDir), Files: vm.files.files, Stdout: vm.console})
	return err
}

// again starts QEMU anew if it failed for a reason that passes.
func (vm *VM) again(why error) (bool, error) {
	if vm.tries >= mostStarts || !vm.passes(why) {
		return false, nil
	}
	vm.kill()
	return true, vm.launch()
}

// noTimer is a kernel's panic when its processor gets so little time that timer
// interrupts seem not to come. Real processors and KVM's have no such pauses.
const noTimer = "IO-APIC + timer doesn't work"

// passes tells whether a failure lies in this machine and may be gone next time:
// between the choice of a port and its use somebody else may take it, and an
// emulated processor may starve.
func (vm *VM) passes(why error) bool {
	var failed *tool.Error
	var said *saidError
	switch {
	case errors.As(why, &failed) && strings.Contains(failed.Stderr, "host forwarding"):
		return true
	case errors.As(why, &said) && vm.machine.accel == AccelTCG && strings.Contains(said.line, noTimer):
		vm.tell("this machine is so busy that the emulated one lost its timer; starting again")
		return true
	}
	return false
}

// A saidError is a line of the console that tells of a failure.
type saidError struct{ line string }

func (e *saidError) Error() string { return fmt.Sprintf("the console says %q", e.line) }

// ask begins to ask the workload, before QEMU starts, so that the time that is
// measured holds no pause of this program's.
func (vm *VM) ask() {
	ctx, stop := context.WithCancel(context.Background())
	vm.asked, vm.stop = make(chan asked, 1), stop
	if vm.o.WaitFor != "" {
		return
	}
	go func(began time.Time, port int, result chan<- asked) {
		status, err := vm.check.poll(ctx, port)
		result <- asked{status, err, time.Since(began)}
	}(vm.began, vm.ports[vm.port], vm.asked)
}

// forwards finds a loopback port of the host for each of the guest's.
func forwards(guest []int) ([]forward, error) {
	var all []forward
	for _, port := range guest {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a loopback port: %w", err)
		}
		defer l.Close()
		all = append(all, forward{l.Addr().(*net.TCPAddr).Port, port})
	}
	return all, nil
}

func (vm *VM) tell(what string) {
	if vm.o.Tell != nil {
		vm.o.Tell(what)
	}
}

// A FailedError is a machine that did not pass. It holds the end of what the
// console showed.
type FailedError struct {
	Reason  error
	Console string // lines, each behind a bar; "" if there was nothing
	Hint    string // "" for none
}

func (e *FailedError) Error() string {
	text := "booting: " + e.Reason.Error()
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	if e.Console == "" {
		return text + "\nthe console showed nothing"
	}
	return text + "\nthe console ends with:\n" + e.Console
}

func (e *FailedError) Unwrap() error { return e.Reason }

// Wait returns when the machine has passed. It gives up when the time is over,
// when ctx or QEMU ends, or when the console tells of a failure; unless it is
// ctx's, the error is then a *FailedError.
func (vm *VM) Wait(ctx context.Context) error {
	limit := vm.o.Timeout
	if limit == 0 {
		limit = DefaultTimeout
	}
	waitCtx, cancel := context.WithDeadline(ctx, vm.began.Add(limit))
	defer cancel()
	err := vm.wait(waitCtx)
	switch {
	case err == nil:
		vm.Result.AgentAfter = vm.console.agent()
		return vm.console.logError()
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("not up after %v: %w", limit, err)
	}
	vm.Close() // so that the console is complete
	failed := &FailedError{Reason: err}
	console := vm.console.String()
	if strings.TrimSpace(console) != "" {
		failed.Console = vm.console.tail()
	}
	if vm.hint.text != "" && strings.Contains(console, vm.hint.sign) {
		failed.Hint = vm.hint.text
	}
	return failed
}

func (vm *VM) wait(ctx context.Context) error {
	for {
		err := vm.waitOnce(ctx)
		if err == nil {
			return nil
		}
		if again, startErr := vm.again(err); !again || startErr != nil {
			return cmp.Or(startErr, err)
		}
	}
}

func (vm *VM) waitOnce(ctx context.Context) error {
	select {
	case a := <-vm.asked:
		if a.err != nil {
			return a.err
		}
		vm.Result.Elapsed, vm.Result.URL, vm.Result.Status = a.at, vm.check.url, a.status
		return vm.settle(ctx)
	case <-vm.console.matched:
		vm.Result.Elapsed = time.Since(vm.began)
		return nil
	case reason := <-vm.console.failed:
		return &saidError{reason}
	case <-vm.process.Done():
		return vm.ended()
	case <-ctx.Done():
		if vm.o.WaitFor != "" {
			return fmt.Errorf("%w; the console has not shown %q", ctx.Err(), vm.o.WaitFor)
		}
		vm.stop()
		return fmt.Errorf("%w; asking for %s: %w", ctx.Err(), vm.check.url, (<-vm.asked).err)
	}
}

// settle makes sure that what answered was the machine: that QEMU got its ports.
func (vm *VM) settle(ctx context.Context) error {
	timer := time.NewTimer(settleTime - time.Since(vm.began))
	defer timer.Stop()
	select {
	case <-vm.process.Done():
		return vm.ended()
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended tells why QEMU is gone: what the console said last may still be unread.
func (vm *VM) ended() error {
	select {
	case <-vm.console.matched:
		vm.Result.Elapsed = time.Since(vm.began)
		return nil
	case reason := <-vm.console.failed:
		return &saidError{reason}
	default:
	}
	if err := vm.process.Err(); err != nil {
		return err
	}
	return errors.New("the machine went off")
}

// getTime is how long an answer is waited for.
const getTime = 20 * time.Second

// Get asks a port of the guest for a path, which starts with a slash: the
// workload's for port 0, else one of Options.Ports.
func (vm *VM) Get(ctx context.Context, port int, path string) (Answer, error) {
	if port == 0 {
		port = vm.port
	}
	ctx, cancel := context.WithTimeout(ctx, getTime)
	defer cancel()
	return get(ctx, client(vm.ports[port]), "http://127.0.0.1"+path)
}

// Console returns what the console showed so far, the last MiB of it.
func (vm *VM) Console() string { return vm.console.String() }

// Close ends the machine and waits until it is gone. It may be called more than once.
func (vm *VM) Close() {
	vm.kill()
	if vm.initramfs != nil {
		_ = vm.initramfs.Close()
		vm.initramfs = nil
	}
}

func (vm *VM) kill() {
	if vm.stop != nil {
		vm.stop()
	}
	if vm.process != nil {
		vm.process.Kill()
	}
}
