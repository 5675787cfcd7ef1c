package boot

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// moduleFile is the least that is a module: an ELF file with one section of text.
func moduleFile(info ...string) []byte {
	text := []byte(strings.Join(info, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	const head, entry = 64, 64
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01")
	b.Write(make([]byte, 9))
	le := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	shoff := uint64(head + len(text) + len(names))
	le(uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), shoff, uint32(0), uint16(head), uint16(0), uint16(0), uint16(entry), uint16(3), uint16(2))
	b.Write(text)
	b.Write(names)
	b.Write(make([]byte, entry))
	le(uint32(1), uint32(1), uint64(0), uint64(0), uint64(head), uint64(len(text)), uint32(0), uint32(0), uint64(1), uint64(0))
	le(uint32(10), uint32(3), uint64(0), uint64(0), uint64(head+len(text)), uint64(len(names)), uint32(0), uint32(0), uint64(1), uint64(0))
	return b.Bytes()
}

func modulesIn(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, path, body)
	}
	return dir
}

func packed(t *testing.T, with string, body []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch with {
	case "gz":
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
	case "zst":
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := z.Write(body); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestModulesAreLoadedAfterWhatTheyNeed(t *testing.T) {
	dir := modulesIn(t, map[string][]byte{
		"kernel/fs/xfs/xfs.ko":             moduleFile("license=GPL", "depends=libcrc32c"),
		"kernel/lib/libcrc32c.ko.gz":       packed(t, "gz", moduleFile("softdep=pre: crc32c post: later", "depends=")),
		"kernel/crypto/crc32c_generic.ko":  moduleFile("depends="),
		"kernel/drivers/virtio_blk.ko.zst": packed(t, "zst", moduleFile("depends=virtio,virtio-ring")),
		"kernel/drivers/virtio.ko":         moduleFile("depends=virtio_ring"),
		"kernel/drivers/virtio-ring.ko":    moduleFile("depends=virtio"), // a circle does no harm
		"kernel/later.ko":                  moduleFile("depends="),
		"kernel/none.ko.xz":                []byte("never read"),
		"modules.order":                    []byte("text"),
	})
	m, err := OpenModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.closure("virtio_pci", "virtio_blk", "xfs")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range all {
		names = append(names, x.name)
		if !bytes.HasPrefix(x.body, []byte("\x7fELF")) {
			t.Errorf("%s is still compressed", x.name)
		}
	}
	if got, want := strings.Join(names, " "), "virtio_ring virtio virtio_blk crc32c_generic libcrc32c xfs"; got != want {
		t.Errorf("order %q, want %q", got, want)
	}
	if r := moduleRecords(all); len(r) != 7 || r[1].name != "modules/000-virtio_ring.ko" {
		t.Errorf("%d records, the second is %s", len(r), r[1].name)
	}
}

func TestModulesThatAreNone(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  string
	}{
		{"nothing", nil, "no .ko file"},
		{"two kernels", map[string][]byte{"a/x.ko": nil, "b/x.ko": nil}, "the folder of one kernel"},
		{"text", map[string][]byte{"x.ko": []byte("text")}, "reading module"},
		{"a program", map[string][]byte{"x.ko": helloProgram()}, "no .modinfo"},
		{"xz", map[string][]byte{"x.ko.xz": nil}, "unxz"},
		{"damaged gzip", map[string][]byte{"x.ko.gz": []byte("\x1f\x8b")}, "reading module"},
		{"damaged zstd", map[string][]byte{"x.ko.zst": []byte("\x28\xb5\x2f\xfd")}, "reading module"},
	} {
		m, err := OpenModules(modulesIn(t, test.files))
		if err == nil {
			_, err = m.closure("x")
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := OpenModules(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a folder that is not there is taken")
	}
}

func TestAModuleHasALimit(t *testing.T) {
	for size, ok := range map[int]bool{maxModule: true, maxModule + 1: false} {
		dir := modulesIn(t, map[string][]byte{"x.ko.zst": packed(t, "zst", make([]byte, size))})
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readModule(root, "x.ko.zst"); (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
		root.Close()
	}
}

func TestFormatsNeedTheirWordAndAnotherKernel(t *testing.T) {
	for _, test := range []struct {
		format, extra string
		kernel        Kernel
		want          string
	}{
		{"ext4", "", Kernel{Volant: true}, ""},
		{"xfs", "volant.rootfs_fstype=xfs", Kernel{}, ""},
		{"btrfs", "quiet volant.rootfs_fstype=btrfs", Kernel{}, ""},
		{"xfs", "volant.rootfs_fstype=xfs", Kernel{Volant: true}, "--modules FOLDER"},
		{"xfs", "", Kernel{}, `--kernel-cmdline "volant.rootfs_fstype=xfs"`},
		{"xfs", "volant.rootfs_fstype=xfsx", Kernel{}, "--kernel-cmdline"},
	} {
		err := checkFormat(test.format, test.extra, &test.kernel)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestModulesNeedAStaticBusybox: something has to load them.
func TestModulesNeedAStaticBusybox(t *testing.T) {
	hello := string(helloProgram())
	modules, err := OpenModules(modulesIn(t, map[string][]byte{"virtio_blk.ko": moduleFile("depends=")}))
	if err != nil {
		t.Fatal(err)
	}
	with := func(format string, m *Modules, has HasAgent, files map[string]string) (*stage, error) {
		image := ext4(t, rootOf(t, files))
		d := openDisk(t.Context(), bytes.NewReader(image), int64(len(image)), formatExt4)
		d.format = format
		return (&starter{disk: d, kernel: &Kernel{Arch: "amd64"}, has: has, modules: m}).plan(t.Context())
	}
	agent := map[string]string{"bin/kestrel": hello}
	both := map[string]string{"usr/local/bin/kestrel": hello, "bin/busybox": hello}
	for format, m := range map[string]*Modules{"ext4": modules, "squashfs": nil} {
		if _, err := with(format, m, AgentNo, agent); err == nil || !strings.Contains(err.Error(), "--busybox FILE") {
			t.Errorf("%s: %v", format, err)
		}
		st, err := with(format, m, AgentNo, both)
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		if err := writeArchive(&text, st.records); err != nil {
			t.Fatal(err)
		}
		st.close()
		want := "exec /bin/kestrel\n"
		if format == "squashfs" {
			want = "switch_root /new /usr/local/bin/kestrel stage2\n"
		}
		if !strings.Contains(text.String(), want) || (m != nil) != strings.Contains(text.String(), "modules/000-virtio_blk.ko") {
			t.Errorf("%s: the archive lacks %q or the modules", format, want)
		}
	}
	if _, err := with("ext4", modules, AgentYes, both); err == nil || !strings.Contains(err.Error(), "leave --modules out") {
		t.Errorf("a kernel with an agent: %v", err)
	}
}
