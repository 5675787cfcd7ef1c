package boot

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/manifest"
)

// arm is a program for arm64, as far as its header tells.
func arm() []byte {
	b := helloProgram()
	b[18], b[19] = 183, 0
	return b
}

// dynamic is helloProgram with a program interpreter.
func dynamic() []byte {
	b := helloProgram()
	interp := make([]byte, 56)
	copy(interp, []byte{3, 0, 0, 0})         // PT_INTERP
	interp[8] = 64 + 2*56                    // its offset
	interp[32] = byte(len("/lib/ld.so")) + 1 // its size
	b[56] = 2                                // e_phnum
	return append(append(append(bytes.Clone(b[:64+56]), interp...), "/lib/ld.so\x00"...), b[64+56:]...)
}

// ext4 makes an image of a folder.
func ext4(t *testing.T, root string) []byte {
	t.Helper()
	testneed.Tool(t, "mke2fs")
	mke2fs, _ := testneed.Look("mke2fs")
	image := filepath.Join(t.TempDir(), "image")
	out, err := exec.CommandContext(t.Context(), mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-d", root, image, "8M").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rootOf makes a folder of programs, and of links where a content begins with "->".
func rootOf(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zst(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

func TestOpenLooksWhatAnArtifactIs(t *testing.T) {
	hello := string(helloProgram())
	plain := cpioWith(t, "init", helloProgram())
	tests := []struct {
		name     string
		medium   string
		artifact []byte
		arch     string
		want     string // in the error
	}{
		{"plain archive", "initramfs", plain, "amd64", ""},
		{"gzip", "initramfs", gz(plain), "amd64", ""},
		{"zstd", "initramfs", zst(t, plain), "amd64", ""},
		{"archive for arm64", "initramfs", cpioWith(t, "./bin/kestrel", arm()), "arm64", ""},
		{"the workload tells", "initramfs", cpioWith(t, "/bin/web", arm()), "arm64", ""},
		{"scripts tell nothing", "initramfs", cpioWith(t, "init", []byte("#!/bin/sh\n")), "", ""},
		{"cut archive", "initramfs", plain[:len(plain)-200], "", "damaged"},
		{"no archive in gzip", "initramfs", gz([]byte(strings.Repeat("nothing ", 40))), "", `a header begins with "nothin"`},
		{"image", "rootfs", ext4(t, rootOf(t, map[string]string{"usr/bin/kestrel": hello, "bin": "->usr/bin"})), "amd64", ""},
		{"image with absolute links", "rootfs", ext4(t, rootOf(t, map[string]string{"opt/x": string(arm()), "bin/kestrel": "->/opt/../opt/x"})), "arm64", ""},
		{"image without an agent", "rootfs", ext4(t, rootOf(t, map[string]string{"bin/web": hello})), "amd64", ""},
		{"image without programs", "rootfs", ext4(t, rootOf(t, map[string]string{"bin/kestrel": "->kestrel", "bin/web": "#!"})), "", ""},
		{"image as initramfs", "initramfs", ext4(t, rootOf(t, nil)), "", "the manifest says initramfs but it is an ext filesystem"},
		{"archive as rootfs", "rootfs", gz(plain), "", "the manifest says rootfs but it is gzip data"},
		{"qcow2", "rootfs", append([]byte("QFI\xfb"), make([]byte, 4096)...), "", "qcow2"},
		{"anything", "rootfs", []byte("anything"), "", "none that is known"},
		{"nothing", "initramfs", nil, "", "none that is known"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "artifact"), test.artifact)
			p, err := OpenWith(t.Context(), path, pluginManifest(test.medium, test.artifact), nil)
			if err != nil {
				if test.want == "" || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v", err)
				}
				return
			}
			defer p.Close()
			if test.want != "" || p.Arch != test.arch || p.Rootfs() != (test.medium == "rootfs") || p.Digest != "sha256:"+hexSum(test.artifact) {
				t.Errorf("%+v, want %q and arch %q", p, test.want, test.arch)
			}
		})
	}
}

func TestOpenComparesTheChecksumAsVolantDoes(t *testing.T) {
	artifact := cpioWith(t, "init", helloProgram())
	path := write(t, filepath.Join(t.TempDir(), "artifact"), artifact)
	sum := hexSum(artifact)
	for _, test := range []struct {
		checksum string
		ok       bool
	}{
		{"sha256:" + sum, true},
		{sum, true},
		{"sha256:" + strings.ToUpper(sum), true},
		{"SHA256:" + sum, false},
		{"sha512:" + sum, false},
		{"sha256:" + strings.Repeat("0", 64), false},
	} {
		m := pluginManifest("initramfs", artifact)
		m.Initramfs.Checksum = test.checksum
		p, err := OpenWith(t.Context(), path, m, nil)
		if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), "initramfs.checksum is") {
			t.Errorf("checksum %q: %v", test.checksum, err)
		}
		if err == nil {
			_ = p.Close()
		}
	}
	m := pluginManifest("initramfs", artifact)
	m.Initramfs.Checksum = ""
	p, err := OpenWith(t.Context(), path, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "initramfs.checksum is missing") {
		t.Errorf("warnings %q", p.Warnings)
	}
}

func TestOpenRefusesWhatVolantWouldNotInstall(t *testing.T) {
	artifact := cpioWith(t, "init", helloProgram())
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "artifact"), artifact)
	both := pluginManifest("rootfs", artifact)
	both.Initramfs = &manifest.Initramfs{URL: "/x", Checksum: both.Rootfs.Checksum}
	disabled := pluginManifest("initramfs", artifact)
	disabled.Enabled = false
	for name, text := range map[string]string{
		"no JSON":     "{",
		"unknown key": `{"nam":"x"}`,
		"both media":  encode(t, both),
		"disabled":    encode(t, disabled),
		"neither":     encode(t, &manifest.Manifest{}),
	} {
		at := write(t, filepath.Join(dir, "manifest.json"), []byte(text))
		_, err := Open(t.Context(), path, at)
		var wrong *ManifestError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), at) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	_, err := Open(t.Context(), path, filepath.Join(dir, "none.json"))
	var wrong *ManifestError
	if !errors.As(err, &wrong) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no manifest: error %v", err)
	}
	at := write(t, filepath.Join(dir, "manifest.json"), []byte(encode(t, pluginManifest("initramfs", artifact))))
	p, err := Open(t.Context(), path, at)
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
	if _, err := Open(t.Context(), dir, at); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, path, at); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
}

func encode(t *testing.T, m *manifest.Manifest) string {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestStarterTakesWhatTheImageHas(t *testing.T) {
	hello := string(helloProgram())
	file := write(t, filepath.Join(t.TempDir(), "program"), helloProgram())
	dyn := write(t, filepath.Join(t.TempDir(), "dynamic"), dynamic())
	tests := []struct {
		name    string
		files   map[string]string
		kernel  Kernel
		has     HasAgent
		busybox string
		records int    // in the archive
		hint    string // part of it
		want    string // in the error
	}{
		{"Volant's kernel needs nothing", nil, Kernel{Volant: true}, AgentAuto, "", 0, "", ""},
		{"nor one of which that is said", nil, Kernel{}, AgentYes, "", 0, "", ""},
		{"agent and busybox", map[string]string{"bin/kestrel": hello, "bin/busybox": hello}, Kernel{}, AgentAuto, "", 9, "", ""},
		{"also for Volant's when that is said", map[string]string{"bin/kestrel": hello, "bin/busybox": hello}, Kernel{Volant: true}, AgentNo, "", 9, "", ""},
		{"no busybox", map[string]string{"bin/kestrel": hello}, Kernel{}, AgentNo, "", 8, "--busybox FILE", ""},
		{"a busybox that is not static", map[string]string{"bin/kestrel": hello, "bin/busybox": string(dynamic())}, Kernel{}, AgentNo, "", 8, "--busybox FILE", ""},
		{"a busybox of the user's", map[string]string{"bin/kestrel": hello}, Kernel{}, AgentNo, file, 9, "", ""},
		{"that is not static", map[string]string{"bin/kestrel": hello}, Kernel{}, AgentNo, dyn, 0, "", "it is not static: it needs /lib/ld.so"},
		{"that is not there", map[string]string{"bin/kestrel": hello}, Kernel{}, AgentNo, dyn + "x", 0, "", "no such file"},
		{"no agent, and nothing known of the kernel", nil, Kernel{}, AgentAuto, "", 0, "the image has no agent", ""},
		{"no agent, and a kernel that brings none", nil, Kernel{Name: "K", Bare: true}, AgentAuto, "", 0, "", "the kernel K brings none"},
		{"the same by the user's word", nil, Kernel{Name: "K"}, AgentNo, "", 0, "", "build the plugin with an [agent]"},
		{"an agent that is not static", map[string]string{"bin/kestrel": string(dynamic())}, Kernel{}, AgentAuto, "", 0, "", "/bin/kestrel: it is not static"},
		{"an agent for another machine", map[string]string{"bin/kestrel": string(arm())}, Kernel{}, AgentAuto, "", 0, "", "it is for arm64, the kernel is for amd64"},
		{"an agent that is none", map[string]string{"bin/kestrel": "<html>"}, Kernel{}, AgentAuto, "", 0, "", "no ELF executable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			image := ext4(t, rootOf(t, test.files))
			test.kernel.Arch = "amd64"
			st, err := (&starter{disk: openDisk(t.Context(), bytes.NewReader(image), int64(len(image)), formatExt4), kernel: &test.kernel, has: test.has, busybox: test.busybox}).plan(t.Context())
			if err != nil {
				if test.want == "" || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				return
			}
			defer st.close()
			if test.want != "" || len(st.records) != test.records || !strings.Contains(st.hint.text, test.hint) || (st.hint.text == "") != (test.hint == "") {
				t.Errorf("%d records, hint %q", len(st.records), st.hint)
			}
		})
	}
}
