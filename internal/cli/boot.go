package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/internal/boot"
	"github.com/volant/fledge-action/internal/proof"
)

type bootFlags struct {
	manifest, kernel, modules, kernelVersion, kernelHasAgent, kernelCmdline, baseURL string
	busybox, qemu, accel, waitFor, console, cacheDir                                 string
	cpu, memory                                                                      int
	timeout                                                                          time.Duration
	verbose, quiet, json                                                             bool
}

func (p *Program) bootCommand() *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "boot ARTIFACT",
		Short: "Boot a plugin in QEMU and wait until it answers",
		Long: `Boot an artifact in QEMU with Volant's kernel command line, and wait until its health check
answers with 2xx through a forwarded loopback port. Without a health check any HTTP answer at base_url
will do. The artifact is not changed, the guest reaches no network, and nothing is left running.

On success PASS and the milliseconds from the start of QEMU to the good answer are printed on standard
output. See docs/boot.md.

Environment:
  GITHUB_TOKEN       for the GitHub API, where Volant's kernel is looked up
  XDG_CACHE_HOME     where the cache is kept, in fledge/ (default ~/.cache)
  PATH               where qemu-system-x86_64 or qemu-system-aarch64 is looked for
  TMPDIR             where temporary files without a name go
  HTTPS_PROXY, NO_PROXY`,
		Example: `  fledge boot nginx.img
  fledge boot dist/web.cpio.gz --kernel bzImage --timeout 30s --console boot.log
  fledge boot worker.img --wait-for 'queue connected'
  fledge boot data.img --kernel vmlinuz --modules lib/modules/6.1.0-56-cloud-amd64 --kernel-cmdline volant.rootfs_fstype=xfs`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("boot wants one artifact, got %d arguments (see 'fledge boot --help')", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.boot(cmd, f, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.manifest, "manifest", "", "manifest `file` (default NAME.manifest.json or manifest.json beside the artifact)")
	flags.StringVar(&f.kernel, "kernel", "", "kernel `file`: a bzImage or vmlinux, or an Image for arm64 (default Volant's own, from its release)")
	flags.StringVar(&f.modules, "modules", "", "`folder` lib/modules/VERSION of --kernel, if its drivers are modules: those of virtio and of the rootfs are loaded first")
	flags.StringVar(&f.kernelVersion, "kernel-version", "", "`tag` of the Volant release whose kernel is booted (default the latest)")
	flags.StringVar(&f.kernelHasAgent, "kernel-has-agent", string(boot.AgentAuto), "`answer` to whether the kernel brings the agent that starts a rootfs: auto, yes or no; if not, the image's agent is handed to it")
	flags.StringVar(&f.kernelCmdline, "kernel-cmdline", "", "`words` to add to the kernel command line, as volar's flag of that name does")
	flags.StringVar(&f.baseURL, "base-url", "", "`URL` of the GitHub API that has volantvm/volant (default https://api.github.com)")
	flags.StringVar(&f.busybox, "busybox", "", "static busybox `file` for a kernel that brings no agent (default the image's)")
	flags.StringVar(&f.qemu, "qemu", "", "QEMU's `program` (default qemu-system-x86_64 or qemu-system-aarch64 on PATH)")
	flags.StringVar(&f.accel, "accel", boot.AccelAuto, "accelerator's `name`: auto, kvm or tcg; auto is kvm if a guest really comes up with it")
	flags.StringVar(&f.waitFor, "wait-for", "", "`text` in a line of the console that means success, instead of an HTTP answer")
	flags.StringVar(&f.console, "console", "", "`file` that gets the console's output")
	flags.StringVar(&f.cacheDir, "cache-dir", "", "`folder` that keeps downloads, \"none\" for no cache (default $XDG_CACHE_HOME/fledge)")
	flags.IntVar(&f.cpu, "cpu", 0, "`number` of processors (default the manifest's, as far as this machine has them)")
	flags.IntVar(&f.memory, "memory", 0, "memory in `MiB` (default the manifest's, 4096 at most)")
	flags.DurationVar(&f.timeout, "timeout", boot.DefaultTimeout, "`time` to the good answer")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show the console")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

// Bounds of flags.
const (
	mostCPUs      = 255
	mostMemoryMiB = 1 << 20
	mostTimeout   = 24 * time.Hour
)

func (f bootFlags) check() error {
	oneOf := func(flag, value string, values ...string) error {
		for _, v := range values {
			if value == v {
				return nil
			}
		}
		return fmt.Errorf("--%s is %q: want %s", flag, value, strings.Join(values, ", "))
	}
	printableASCII := func(flag, value string) error {
		if strings.ContainsFunc(value, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
			return fmt.Errorf("--%s is %q: want printable ASCII", flag, value)
		}
		return nil
	}
	errs := []error{
		oneOf("accel", f.accel, boot.AccelAuto, boot.AccelKVM, boot.AccelTCG),
		oneOf("kernel-has-agent", f.kernelHasAgent, string(boot.AgentAuto), string(boot.AgentYes), string(boot.AgentNo)),
		printableASCII("kernel-cmdline", f.kernelCmdline),
	}
	if f.verbose && f.quiet {
		errs = append(errs, errors.New("--verbose and --quiet exclude each other"))
	}
	if strings.ContainsRune(f.waitFor, '\n') {
		errs = append(errs, errors.New("--wait-for has a line break: want text within one line"))
	}
	if f.cpu < 0 || f.cpu > mostCPUs {
		errs = append(errs, fmt.Errorf("--cpu is %d: want 1 to %d", f.cpu, mostCPUs))
	}
	if f.memory < 0 || f.memory > mostMemoryMiB {
		errs = append(errs, fmt.Errorf("--memory is %d: want 1 to %d MiB", f.memory, mostMemoryMiB))
	}
	if f.timeout <= 0 || f.timeout > mostTimeout {
		errs = append(errs, fmt.Errorf("--timeout is %v: want more than 0, %v at most", f.timeout, mostTimeout))
	}
	if f.modules != "" && f.kernel == "" {
		errs = append(errs, errors.New("--modules needs --kernel, the kernel they belong to"))
	}
	if f.kernel != "" && f.kernelVersion != "" {
		errs = append(errs, errors.New("--kernel and --kernel-version exclude each other"))
	}
	for _, err := range errs {
		if err != nil {
			return usageError{err}
		}
	}
	return nil
}

func (p *Program) boot(cmd *cobra.Command, f bootFlags, artifact string) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	ctx, report := cmd.Context(), p.reporter(f.verbose, f.quiet)
	detail := func(text string) { report.event(build.Event{Kind: build.Detail, Message: text}) }
	warn := func(text string) { report.event(build.Event{Kind: build.Warning, Message: text}) }
	defer func() { report.end(err == nil) }()

	if f.manifest == "" {
		f.manifest = proof.Manifest(artifact)
	}
	report.event(build.Event{Kind: build.StageBegins, Message: "checking " + filepath.Base(artifact)})
	plugin, err := boot.Open(ctx, artifact, f.manifest)
	if err != nil {
		return bootError(err)
	}
	defer plugin.Close()
	for _, w := range plugin.Warnings {
		warn(w)
	}
	kernel, err := p.findKernel(cmd, f, plugin.Arch, report)
	if err != nil {
		return err
	}
	defer kernel.Close()
	for _, note := range kernel.Notes {
		warn(note)
	}
	var modules *boot.Modules
	if f.modules != "" {
		if modules, err = boot.OpenModules(f.modules); err != nil {
			return usageError{err}
		}
	}
	qemu, err := boot.FindQEMU(kernel.Arch, f.qemu, p.Getenv("PATH"))
	if err != nil {
		return err
	}
	log, done, err := p.consoleLog(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	report.event(build.Event{Kind: build.StageBegins, Message: "booting"})
	result, err := boot.Run(ctx, boot.Options{
		Plugin: plugin, Kernel: kernel, QEMU: qemu, Accel: f.accel, CPUs: f.cpu, MemoryMiB: f.memory, Extra: f.kernelCmdline,
		HasAgent: boot.HasAgent(f.kernelHasAgent), Modules: modules, Busybox: f.busybox, WaitFor: f.waitFor, Timeout: f.timeout,
		TempDir: p.Getenv("TMPDIR"), Console: log, Tell: detail,
	})
	if err != nil {
		return err
	}
	report.end(true)
	return p.printBoot(f, plugin, kernel, result)
}

// bootError marks a manifest that cannot be used as the user's to mend.
func bootError(err error) error {
	var wrong *boot.ManifestError
	if errors.As(err, &wrong) {
		if errors.Is(err, os.ErrNotExist) {
			return usageError{fmt.Errorf("%s: no such file; name the artifact's manifest with --manifest", wrong.Path)}
		}
		return usageError{err}
	}
	if errors.Is(err, os.ErrNotExist) {
		return usageError{err}
	}
	return err
}

func (p *Program) findKernel(cmd *cobra.Command, f bootFlags, arch string, report *reporter) (*boot.Kernel, error) {
	warn := func(err error) { report.event(build.Event{Kind: build.Warning, Message: err.Error()}) }
	// QEMU is asked for first, as far as that is known: a download that is of no
	// use would be a poor way to find out that it is not installed.
	if f.kernel == "" {
		want := arch
		if want == "" {
			want = "amd64"
		}
		if _, err := boot.FindQEMU(want, f.qemu, p.Getenv("PATH")); err != nil {
			return nil, err
		}
		report.event(build.Event{Kind: build.StageBegins, Message: "fetching kernel"})
	}
	dir := p.cacheDir(f.cacheDir)
	store := cache.New(cache.Options{
		Dir: dir, TempDir: p.Getenv("TMPDIR"),
		Warn: func(err error) { warn(fmt.Errorf("not caching downloads: %w", err)) },
	})
	defer store.Close()
	return boot.FindKernel(cmd.Context(), boot.KernelRequest{
		Path: f.kernel, Arch: arch, Version: f.kernelVersion, BaseURL: f.baseURL, Token: p.Getenv("GITHUB_TOKEN"),
		Cache: store, CacheDir: dir, TempDir: p.Getenv("TMPDIR"), Warn: warn,
	})
}

// consoleLog is where the console's output goes, and what ends that.
func (p *Program) consoleLog(f bootFlags) (io.Writer, func() error, error) {
	var writers []io.Writer
	done := func() error { return nil }
	if f.console != "" {
		file, err := os.Create(f.console)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("keeping the console's output: %w", err)}
		}
		writers, done = append(writers, file), file.Close
	}
	if f.verbose {
		writers = append(writers, &lineWriter{w: p.Stderr})
	}
	if len(writers) == 0 {
		return nil, done, nil
	}
	return io.MultiWriter(writers...), done, nil
}

// lineWriter shows text of a guest on a terminal: whole lines, made harmless.
type lineWriter struct {
	w    io.Writer
	line []byte
}

// longestLine is what is shown as one line, in bytes.
const longestLine = 4 << 10

func (l *lineWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' {
			l.line = append(l.line, b)
		}
		if b == '\n' || len(l.line) >= longestLine {
			fmt.Fprintln(l.w, printable(strings.TrimRight(string(l.line), "\r")))
			l.line = l.line[:0]
		}
	}
	return len(p), nil
}

// bootOutput is what --json prints. Its keys are a promise: they may grow, not change.
type bootOutput struct {
	Result       string       `json:"result"` // "PASS"
	Milliseconds int64        `json:"milliseconds"`
	AgentMS      int64        `json:"agent_milliseconds,omitempty"`
	Accelerator  string       `json:"accelerator"`
	CPUs         int          `json:"cpus"`
	MemoryMiB    int          `json:"memory_mib"`
	Kernel       kernelOutput `json:"kernel"`
	Artifact     struct {
		Path   string `json:"path"`
		Digest string `json:"digest"`
	} `json:"artifact"`
	URL      string   `json:"url,omitempty"`
	Status   int      `json:"status,omitempty"`
	WaitFor  string   `json:"wait_for,omitempty"`
	Warnings []string `json:"warnings"`
}

type kernelOutput struct {
	Name   string `json:"name"`
	Arch   string `json:"arch"`
	Volant bool   `json:"volant"`
}

func (p *Program) printBoot(f bootFlags, plugin *boot.Plugin, kernel *boot.Kernel, r *boot.Result) error {
	if !f.json {
		what := fmt.Sprintf("%q on the console", f.waitFor)
		if f.waitFor == "" {
			what = fmt.Sprintf("%d from %s", r.Status, r.URL)
		}
		if !f.quiet {
			fmt.Fprintf(p.Stderr, "%s after %d ms (%s, %d CPU, %d MiB, kernel %s)\n",
				printable(what), r.Elapsed.Milliseconds(), r.Accel, r.CPUs, r.MemoryMiB, printable(kernel.Name))
			if r.AgentAfter > 0 {
				fmt.Fprintf(p.Stderr, "the agent's first word came after %d ms\n", r.AgentAfter.Milliseconds())
			}
		}
		_, err := fmt.Fprintf(p.Stdout, "PASS %d ms\n", r.Elapsed.Milliseconds())
		return err
	}
	out := bootOutput{
		Result: "PASS", Milliseconds: r.Elapsed.Milliseconds(), AgentMS: r.AgentAfter.Milliseconds(),
		Accelerator: r.Accel, CPUs: r.CPUs, MemoryMiB: r.MemoryMiB,
		Kernel: kernelOutput{kernel.Name, kernel.Arch, kernel.Volant},
		URL:    r.URL, Status: r.Status, WaitFor: f.waitFor, Warnings: append(append([]string{}, plugin.Warnings...), kernel.Notes...),
	}
	out.Artifact.Path, out.Artifact.Digest = plugin.Path, plugin.Digest
	return p.encode(out)
}
