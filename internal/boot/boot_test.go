package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/qemutest"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/manifest"
)

// The test binary is QEMU, under its name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == qemutest.Program {
		qemutest.Main()
	}
	os.Exit(m.Run())
}

// fakeQEMU returns a path under which the test binary is qemutest's stand-in.
func fakeQEMU(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), qemutest.Program)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// bzImage is the least that is taken for a kernel.
func bzImage() []byte {
	b := make([]byte, 0x400)
	copy(b[0x1fe:], "\x55\xaa")
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x236:], 1)
	return b
}

func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hexSum(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// cpioWith is an archive with one program.
func cpioWith(t *testing.T, name string, program []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeArchive(&b, []record{{name: name, mode: modeProgram, size: int64(len(program)), body: bytes.NewReader(program)}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pluginManifest(medium string, artifact []byte) *manifest.Manifest {
	m := &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Name: "web", Version: "1", Runtime: "web", Enabled: true,
		Resources:   manifest.Resources{CPUCores: 1, MemoryMB: 64},
		Workload:    manifest.Workload{Type: manifest.WorkloadHTTP, Entrypoint: []string{"/bin/web"}, BaseURL: "http://127.0.0.1:8000"},
		HealthCheck: &manifest.HealthCheck{Endpoint: "/up", TimeoutMS: 1000},
	}
	if medium == "rootfs" {
		m.Rootfs = &manifest.Rootfs{URL: "/srv/web.img", Checksum: "sha256:" + hexSum(artifact)}
	} else {
		m.Initramfs = &manifest.Initramfs{URL: "/srv/web.cpio", Checksum: "sha256:" + hexSum(artifact)}
	}
	return m
}

// scratch is a folder for temporary files. A test that leaves one fails.
func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return dir
}

// fake are options for a machine that is the stand-in, with an initramfs.
func fake(t *testing.T, words string) Options {
	t.Helper()
	artifact := cpioWith(t, "init", helloProgram())
	path := write(t, filepath.Join(t.TempDir(), "a,b.cpio"), artifact)
	p, err := OpenWith(t.Context(), path, pluginManifest("initramfs", artifact), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	k, err := FindKernel(t.Context(), KernelRequest{Path: write(t, filepath.Join(t.TempDir(), "vmlinuz"), bzImage())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return Options{
		Plugin: p, Kernel: k, QEMU: fakeQEMU(t), Accel: AccelTCG, Extra: words, Timeout: time.Minute, TempDir: scratch(t),
	}
}

// pidOf is the stand-in's process, by its first line.
func pidOf(t *testing.T, console string) int {
	t.Helper()
	match := regexp.MustCompile(`fake: pid ([0-9]+)`).FindStringSubmatch(console)
	if match == nil {
		t.Fatalf("no pid in %q", console)
	}
	pid, err := strconv.Atoi(match[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// gone fails unless a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d still runs: %v", pid, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestRunPassesAndLeavesNothing(t *testing.T) {
	o := fake(t, "fake.status=204")
	var log bytes.Buffer
	var told []string
	o.Console, o.Tell = &log, func(s string) { told = append(told, s) }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.URL != "http://127.0.0.1:8000/up" || r.Status != 204 || r.Elapsed <= 0 || r.Accel != AccelTCG || r.CPUs != 1 || r.MemoryMiB != 64 {
		t.Errorf("result %+v", r)
	}
	if !strings.Contains(log.String(), "asked GET 127.0.0.1:8000 /up") {
		t.Errorf("console %q", log.String())
	}
	if len(told) != 1 || !strings.Contains(told[0], "accelerator tcg, 1 CPU, 64 MiB") {
		t.Errorf("told %q", told)
	}
	gone(t, pidOf(t, log.String()))
}

func TestRunFails(t *testing.T) {
	tests := []struct {
		name, words string
		want        []string
	}{
		{"by a panic", "fake=panic", []string{`the console says "[    0.1] Kernel panic - not syncing: VFS: Unable to mount root fs"`, "  | fake: pid", "  | [    0.1] Kernel panic"}},
		{"by the agent's word", "fake=hang fake.say=kestrel:_fatal_error_in_pid1:_no_program", []string{`"kestrel: fatal error in pid1: no program"`}},
		{"by a machine that goes off", "fake=off", []string{"the machine went off", "  | fake: pid"}},
		{"by QEMU's refusal", "fake=refuse", []string{"not today", "exit status 1"}},
		{"although something answered", "fake=leave", []string{"not today"}},
		{"in time", "fake=hang", []string{"not up after 1s", "asking for http://127.0.0.1:8000/up", "  | fake: pid"}},
		{"by a status", "fake.status=500", []string{"not up after 1s", "the last answer was 500 Internal Server Error"}},
		{"by a redirect", "fake.status=302 fake.to=http://127.0.0.1/", []string{"the last answer was 302 Found"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := fake(t, test.words)
			if slices.ContainsFunc(test.want, func(s string) bool { return strings.Contains(s, "the last answer") || strings.Contains(s, "after 1s") }) {
				o.Timeout = time.Second
			}
			var log bytes.Buffer
			o.Console = &log
			_, err := Run(t.Context(), o)
			if err == nil {
				t.Fatal("it passes")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q in it", err, want)
				}
			}
			gone(t, pidOf(t, log.String()))
		})
	}
}

func TestFailureHoldsTheHintThatFitsTheConsole(t *testing.T) {
	for word, want := range map[string]bool{"no_/bin/busybox_there": true, "no_such_program": false} {
		vm, err := Start(t.Context(), fake(t, "fake=off fake.say="+word))
		if err != nil {
			t.Fatal(err)
		}
		vm.hint = hintNoBusybox
		err = vm.Wait(t.Context())
		if err == nil || strings.Contains(err.Error(), "\nhint: "+hintNoBusybox.text+"\n") != want {
			t.Errorf("%s: error %v", word, err)
		}
	}
}

func TestRunWaitsForATextInstead(t *testing.T) {
	o := fake(t, "fake=hang fake.say=queue_connected")
	o.WaitFor = "queue connected"
	o.Plugin.Manifest.Workload.BaseURL = "https://127.0.0.1" // is not asked
	r, err := Run(t.Context(), o)
	if err != nil || r.Status != 0 || r.URL != "" || r.Elapsed <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	o.WaitFor, o.Timeout = "something else", 500*time.Millisecond
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), `has not shown "something else"`) {
		t.Errorf("error %v", err)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	o := fake(t, "fake=hang")
	ctx, cancel := context.WithCancel(t.Context())
	log := &signalWriter{seen: make(chan struct{})}
	o.Console = log
	go func() { <-log.seen; cancel() }()
	_, err := Run(ctx, o)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	gone(t, pidOf(t, log.text.String()))
}

// signalWriter tells of the first write.
type signalWriter struct {
	text bytes.Buffer
	seen chan struct{}
}

func (s *signalWriter) Write(p []byte) (int, error) {
	if s.text.Len() == 0 {
		close(s.seen)
	}
	return s.text.Write(p)
}

// A port that is taken, or a processor that starves, is no fault of the plugin.
func TestRunStartsAgainForWhatPasses(t *testing.T) {
	for _, word := range []string{"fake.busy=", "fake.slow="} {
		o := fake(t, word+filepath.Join(t.TempDir(), "once"))
		var log bytes.Buffer
		o.Console = &log
		if _, err := Run(t.Context(), o); err != nil {
			t.Errorf("%s: %v", word, err)
		}
		if n := strings.Count(log.String(), "fake: pid"); n != 2 {
			t.Errorf("%s: %d starts, want 2", word, n)
		}
	}
	o := fake(t, "fake=hang fake.say=Kernel_panic:_IO-APIC_+_timer_doesn't_work")
	var log bytes.Buffer
	o.Console = &log
	if _, err := Run(t.Context(), o); err == nil || strings.Count(log.String(), "fake: pid") != mostStarts {
		t.Errorf("for ever: %v after\n%s", err, log.String())
	}
}

func TestRunSurvivesAFloodOnTheConsole(t *testing.T) {
	o := fake(t, "fake.flood=300000")
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// What QEMU opens is what was given, whatever its names are.
func TestQEMUOpensWhatWasChecked(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIP: names like /dev/fd/3 are used on Linux only")
	}
	o := fake(t, "fake=hang fake.sums")
	kernel, artifact := bzImage(), cpioWith(t, "init", helloProgram())
	var log bytes.Buffer
	o.Console, o.WaitFor = &log, "TMPDIR "+o.TempDir
	// Another file takes the artifact's name after the check.
	if err := os.Remove(o.Plugin.Path); err != nil {
		t.Fatal(err)
	}
	write(t, o.Plugin.Path, []byte("something else"))
	if _, err := Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{"kernel": hexSum(kernel), "initramfs": hexSum(artifact)} {
		if !strings.Contains(log.String(), "sum "+want) {
			t.Errorf("%s: %s is not in\n%s", what, want, log.String())
		}
	}
}

func TestRunRefusesALineThatIsTooLong(t *testing.T) {
	o := fake(t, strings.Repeat("x", manifest.CommandLineLimit))
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "the kernel keeps 2047") {
		t.Errorf("error %v", err)
	}
}

func TestArchiveIsReadByCpio(t *testing.T) {
	testneed.Tool(t, "cpio")
	program := write(t, filepath.Join(t.TempDir(), "busybox"), helloProgram())
	st, err := (&starter{disk: &disk{format: formatExt4}, kernel: &Kernel{Name: "k", Arch: "amd64"}, has: AgentNo, agent: program, busybox: program}).plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	var archive bytes.Buffer
	if err := writeArchive(&archive, st.records); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cpio, _ := testneed.Look("cpio")
	cmd := exec.Command(cpio, "-itv", "--numeric-uid-gid")
	cmd.Stdin, cmd.Dir = &archive, dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		got = append(got, f[0]+" "+f[2]+" "+f[4]+" "+strings.Join(f[slices.IndexFunc(f, isName):], " "))
	}
	n := strconv.Itoa(len(helloProgram()))
	want := []string{
		"drwxr-xr-x 0 0 bin", "-rwxr-xr-x 0 " + n + " bin/kestrel", "drwxr-xr-x 0 0 dev", "crw------- 0 5, dev/console",
		"lrwxrwxrwx 0 11 init -> bin/kestrel", "drwxr-xr-x 0 0 mnt", "drwxr-xr-x 0 0 proc", "drwxr-xr-x 0 0 sys", "-rwxr-xr-x 0 " + n + " bin/busybox",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// isName tells a name in a line of cpio -tv from the fields before it.
func isName(field string) bool {
	return slices.Contains([]string{"bin", "dev", "init", "mnt", "proc", "sys"}, strings.Split(field, "/")[0])
}

func TestArchiveRefusesABodyThatIsShort(t *testing.T) {
	err := writeArchive(io.Discard, []record{{name: "x", size: 5, body: strings.NewReader("1234")}})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	err = writeArchive(io.Discard, []record{{name: "x", size: 1 << 32, body: strings.NewReader("")}})
	if err == nil || !strings.Contains(err.Error(), "32 bits") {
		t.Errorf("error %v", err)
	}
}
