package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/internal/facts"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/internal/vmtest"
	"github.com/volant/fledge-action/manifest"
)

var squashed shared[build]

// needSquashed returns what fledge builds from the registry as a squashfs, twice, run by a
// user without rights.
func needSquashed(t *testing.T) build {
	t.Helper()
	source, fledge, kestrel := needRegistry(t), needProgram(t), needAgent(t)
	return squashed.get(t, func() (build, error) {
		return runFledgeFor(`type = "squashfs"`, fledge, kestrel, source, filepath.Join(scratch, "squashed"), nobody, "--check-reproducible", "--locked=false")
	})
}

// inSquashfs is what a squashfs can hold of what is known about a name.
func inSquashfs(s facts.Set) facts.Set {
	out := facts.Set{}
	for name, f := range s {
		f.Mtime = facts.Time{Sec: min(max(f.Mtime.Sec, 0), math.MaxUint32)}
		kept := map[string]string{}
		for key, value := range f.Xattrs {
			if !strings.HasPrefix(key, "system.posix_acl_") {
				kept[key] = value
			}
		}
		if f.Xattrs = kept; len(kept) == 0 {
			f.Xattrs = nil
		}
		out[name] = f
	}
	return out
}

func TestRealImageAsSquashfsMatchesUmoci(t *testing.T) {
	b := needSquashed(t)
	want := umociFacts(t)
	lost := len(facts.Diff(want, inSquashfs(want)))
	if lost < 10 || lost > 14000 {
		t.Errorf("%d facts would be lost", lost)
	}
	// umoci cannot unpack this time.
	last := want["awkward/last-time"]
	last.Mtime = facts.Time{Sec: lastTime.Unix()}
	want["awkward/last-time"] = last

	dir, unmount := testneed.Mount(t, b.image, "ro")
	kernel := readDir(t, dir, facts.Options{Content: true})
	wantEqual(t, "umoci, then kernel", inSquashfs(want), kernel.Without(isAdded), facts.Fields(facts.Data)...)
	kestrel := kernel["usr/bin/kestrel"]
	if got, want := "sha256:"+kestrel.SHA256, digest(t, needAgent(t)); got != want || kestrel.Mode != 0o755 || kestrel.UID != 0 || kestrel.GID != 0 {
		t.Errorf("agent is %+v, want %s with mode 0755 of root", kestrel, want)
	}
	unmount()

	out, err := exec.CommandContext(t.Context(), needProgram(t), "inspect", "--check", b.image).CombinedOutput()
	if err != nil || string(out) != "no problems found\n" {
		t.Errorf("fledge inspect --check: %v: %s", err, out)
	}
}

// TestUnsquashfsUnpacksTheRealImage is the opinion of squashfs-tools.
func TestUnsquashfsUnpacksTheRealImage(t *testing.T) {
	testneed.Tool(t, "unsquashfs")
	b := needSquashed(t)
	dir := filepath.Join(t.TempDir(), "out")
	if out, err := exec.CommandContext(t.Context(), "unsquashfs", "-strict-errors", "-no-progress", "-d", dir, b.image).CombinedOutput(); err != nil {
		t.Fatalf("unsquashfs: %v: %s", err, tail(string(out), 20))
	}
	got := readDir(t, dir, facts.Options{Content: true})
	mount, unmount := testneed.Mount(t, b.image, "ro")
	wantEqual(t, "kernel, then unsquashfs", readDir(t, mount, facts.Options{Content: true}), got, facts.Fields(facts.Data)...)
	unmount()
}

func TestManifestOfASquashfsIsRaw(t *testing.T) {
	b := needSquashed(t)
	if want := digest(t, b.image); !strings.Contains(string(b.manifest), want) || !strings.Contains(string(b.manifest), `"format": "raw"`) {
		t.Errorf("manifest lacks %s or raw:\n%s", want, b.manifest)
	}
}

// overlayInit is the init that docs/squashfs.md gives to those who boot a squashfs.
func overlayInit(t *testing.T) (script, config string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/squashfs.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(language, begin string) string {
		_, rest, ok := strings.Cut(string(text), "```"+language+"\n"+begin)
		body, _, closed := strings.Cut(rest, "```")
		if !ok || !closed {
			t.Fatalf("docs/squashfs.md has no %s that begins with %q", language, begin)
		}
		return begin + body
	}
	return block("sh", "#!/bin/busybox"), block("toml", "version")
}

// TestASquashfsBootsWithTheOverlayOfTheManual builds that initramfs with fledge, and waits
// until the agent says that nginx is healthy.
func TestASquashfsBootsWithTheOverlayOfTheManual(t *testing.T) {
	testneed.Tool(t, vmtest.Program, "busybox")
	// The kernel at hand has squashfs without zstd.
	b, err := runFledgeFor("type = \"squashfs\"\ncompression = \"gzip\"\ncompression_level = 1", needProgram(t), needAgent(t), needRegistry(t), filepath.Join(t.TempDir(), "gzip"), 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := vmtest.Kernel(t.Context())
	if err != nil {
		testneed.Missing(t, "kernel", err.Error())
	}
	dir := t.TempDir()
	script, config := overlayInit(t)
	busybox, _ := testneed.Look("busybox")
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	config += fmt.Sprintf("[source]\nbusybox_url = \"busybox\"\nbusybox_sha256 = \"%x\"\n", sha256.Sum256(program))
	for name, body := range map[string][]byte{"init": []byte(script), "busybox": program, "fledge.toml": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), body, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), needProgram(t), "build", "-o", "overlay.cpio.gz")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the overlay: %v: %s", err, out)
	}
	m, err := manifest.Decode(bytes.NewReader(b.manifest))
	if err != nil {
		t.Fatal(err)
	}
	line, err := m.KernelCommandLine(manifest.Host{
		VM: "vm", Address: "10.0.2.15", Gateway: "10.0.2.2", Netmask: "255.255.255.0", APIHost: "10.0.2.2", APIPort: 1, Extra: "volant.rootfs_fstype=squashfs",
	})
	if err != nil {
		t.Fatal(err)
	}
	console := bootUntil(t, "testagent: ready", "-kernel", kernel, "-initrd", filepath.Join(dir, "overlay.cpio.gz"), "-append", line,
		"-drive", "if=virtio,format=raw,readonly=on,file="+b.image, "-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n")
	t.Logf("the console ends with %s", tail(console, 3))
}

// bootUntil runs QEMU until the console has a line, and gives the console.
func bootUntil(t *testing.T, want string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, vmtest.Program, append([]string{
		"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35", "-accel", "tcg,tb-size=256", "-cpu", "max", "-m", "512",
		"-serial", "stdio", "-monitor", "none",
	}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer cancel()
	var console strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&console, lines.Text())
		if strings.Contains(lines.Text(), want) {
			return console.String()
		}
	}
	t.Fatalf("the machine went off without %q; the console ends with:\n%s", want, tail(console.String(), 30))
	return ""
}
