package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Config says what to boot.
type Config struct {
	Image    string // ext4 root filesystem, not changed
	Manifest []byte // JSON of the plugin manifest
	Kernel   string // bzImage, see Kernel
	Agent    string // static program that is /init, see BuildAgent
	Scratch  string // folder for temporary files

	MemoryMiB int       // default 256
	Accel     string    // "kvm" or "tcg"; default the better that works
	Console   io.Writer // also gets the console's output, if set
}

// A VM is a running machine. Close has to be called.
type VM struct {
	Accel   string        // the one in use
	Elapsed time.Duration // from the start of QEMU to the workload's first good answer

	cmd      *exec.Cmd
	console  *console
	workload string        // http://127.0.0.1:port
	agent    string        //
	exited   chan struct{} // closed when QEMU has ended
	exitErr  error
	cancel   context.CancelFunc
}

const guestAgentPort = 8080

// Boot starts a machine and returns when its workload answers the health check's
// endpoint, or / if it has none, with 2xx and the agent says that it is ready. It gives up when ctx
// ends, when QEMU ends or when the console tells of a failure; the error then
// holds the end of the console's output, and nothing is left running.
func Boot(ctx context.Context, c Config) (*VM, error) {
	p, err := parsePlugin(c.Manifest)
	if err != nil {
		return nil, err
	}
	if err := verify(c.Image, p.Rootfs.Checksum); err != nil {
		return nil, err
	}
	line, err := commandLine(p, c.Manifest)
	if err != nil {
		return nil, err
	}
	port, err := workloadPort(p.Workload.BaseURL)
	if err != nil {
		return nil, err
	}
	vm, err := start(ctx, c, line, port)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := vm.waitReady(ctx, p.Health.Endpoint, begin); err != nil {
		vm.Close()
		return nil, fmt.Errorf("booting %q with %s: %w; the console ends with:\n%s", c.Image, vm.Accel, err, vm.console.tail())
	}
	return vm, nil
}

func workloadPort(base string) (int, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" {
		return 0, fmt.Errorf("workload.base_url %q is no http URL", base)
	}
	if u.Port() == "" {
		return 80, nil
	}
	return strconv.Atoi(u.Port())
}

func start(ctx context.Context, c Config, line string, port int) (*VM, error) {
	accel := c.Accel
	if accel == "" {
		accel = Accel(ctx, c)
	}
	initramfs := filepath.Join(c.Scratch, "initramfs.cpio")
	if err := makeInitramfs(initramfs, c.Agent); err != nil {
		return nil, err
	}
	// Between the choice of a port and its use somebody else may take it.
	for attempt := 0; ; attempt++ {
		ports, err := freePorts(2)
		if err != nil {
			return nil, err
		}
		forwards := []forward{{ports[0], port}, {ports[1], guestAgentPort}}
		vm, err := launch(ctx, c, argv(c, accel, initramfs, line, forwards))
		if err != nil {
			return nil, err
		}
		vm.Accel = accel
		vm.workload = fmt.Sprintf("http://127.0.0.1:%d", ports[0])
		vm.agent = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
		select {
		case <-vm.exited:
			vm.Close()
			if attempt < 3 && strings.Contains(vm.Console(), "host forwarding") {
				continue
			}
			return nil, fmt.Errorf("starting QEMU: %w: %s", vm.exitErr, vm.console.tail())
		case <-time.After(200 * time.Millisecond):
			return vm, nil
		}
	}
}

func makeInitramfs(path, agent string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writeInitramfs(f, agent); err != nil {
		return fmt.Errorf("writing the initramfs: %w", err)
	}
	return f.Close()
}

// A forward leads from a loopback port of the host to one of the guest.
type forward struct{ host, guest int }

// argv is QEMU's command line.
func argv(c Config, accel, initramfs, line string, forwards []forward) []string {
	memory := c.MemoryMiB
	if memory == 0 {
		memory = 256
	}
	args := []string{
		Program, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-machine", "q35", "-smp", "1", "-m", strconv.Itoa(memory),
		"-serial", "stdio", "-monitor", "none",
		"-kernel", c.Kernel, "-initrd", initramfs, "-append", line,
	}
	switch accel {
	case "kvm":
		args = append(args, "-accel", "kvm", "-cpu", "host")
	default:
		args = append(args, "-accel", "tcg,tb-size=256", "-cpu", "max")
	}
	if c.Image != "" {
		// A comma in a path is doubled.
		file := strings.ReplaceAll(c.Image, ",", ",,")
		args = append(args, "-drive", "file="+file+",format=raw,if=none,id=root,snapshot=on",
			"-device", "virtio-blk-pci,drive=root")
	}
	if len(forwards) > 0 {
		net := fmt.Sprintf("user,id=net,restrict=on,net=192.168.127.0/24,host=%s", hostIP)
		for _, f := range forwards {
			net += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-%s:%d", f.host, guestIP, f.guest)
		}
		args = append(args, "-netdev", net, "-device", "virtio-net-pci,netdev=net,romfile=")
	}
	return args
}

// Program is the emulator.
const Program = "qemu-system-x86_64"

// launch starts QEMU with the console on its standard output.
func launch(ctx context.Context, c Config, argv []string) (*VM, error) {
	ctx, cancel := context.WithCancel(ctx)
	vm := &VM{console: newConsole(c.Console), exited: make(chan struct{}), cancel: cancel}
	vm.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...)
	vm.cmd.Env = append(os.Environ(), "TMPDIR="+c.Scratch) // for the snapshot
	vm.cmd.Stdout = vm.console
	vm.cmd.Stderr = vm.console
	vm.cmd.WaitDelay = 5 * time.Second
	if err := vm.cmd.Start(); err != nil {
		cancel()
		return nil, fmt.Errorf("starting QEMU: %w", err)
	}
	go func() {
		vm.exitErr = vm.cmd.Wait()
		close(vm.exited)
	}()
	return vm, nil
}

func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// waitReady asks the workload until it answers well, then waits for the agent.
func (vm *VM) waitReady(ctx context.Context, endpoint string, begin time.Time) error {
	if !strings.HasPrefix(endpoint, "/") {
		endpoint = "/" + endpoint
	}
	for _, url := range []string{vm.workload + endpoint, vm.agent + "/healthz"} {
		for {
			answer, err := get(ctx, url)
			if err == nil && answer.Status/100 == 2 {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%w; the last answer was %+v, %v", ctx.Err(), answer, err)
			case <-vm.exited:
				return errors.New("the machine went off")
			case reason := <-vm.console.failed:
				return fmt.Errorf("the console says %q", reason)
			case <-time.After(50 * time.Millisecond):
			}
		}
		if vm.Elapsed == 0 {
			vm.Elapsed = time.Since(begin)
		}
	}
	return nil
}

// An Answer is what came back over HTTP.
type Answer struct {
	Status int
	Header http.Header
	Body   string // at most 1 MiB
}

// Get asks the workload for a path, which starts with a slash.
func (vm *VM) Get(ctx context.Context, path string) (Answer, error) {
	return get(ctx, vm.workload+path)
}

// GetAgent asks the agent for a path, which starts with a slash.
func (vm *VM) GetAgent(ctx context.Context, path string) (Answer, error) {
	return get(ctx, vm.agent+path)
}

// client keeps no connections, as they would outlive the machine.
var client = http.Client{
	Timeout:   20 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true, Proxy: nil},
}

func get(ctx context.Context, url string) (Answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return Answer{response.StatusCode, response.Header, string(body)}, err
}

// URL is where the workload answers on the host.
func (vm *VM) URL() string { return vm.workload }

// Console returns what the console showed so far.
func (vm *VM) Console() string { return vm.console.String() }

// Close ends the machine and waits until it is gone. It may be called more than once.
func (vm *VM) Close() {
	vm.cancel()
	<-vm.exited
}
