package boot

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Limits of a kernel's modules.
const (
	maxModules = 1 << 16  // files below the folder
	maxModule  = 64 << 20 // bytes of one, uncompressed
)

// Modules are the loadable drivers of a kernel.
type Modules struct {
	dir   string
	files map[string]string // path below dir, by the module's name
}

// OpenModules lists the modules below a folder: lib/modules/VERSION, as a kernel's
// package has it. It may have a modules.dep or not.
func OpenModules(dir string) (*Modules, error) {
	m := &Modules{dir: dir, files: map[string]string{}}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening modules: %w", err)
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		base, _, is := strings.Cut(path.Base(name), ".ko")
		if !is {
			return nil
		}
		if len(m.files) == maxModules {
			return fmt.Errorf("more than %d modules", maxModules)
		}
		base = moduleName(base)
		if other, twice := m.files[base]; twice {
			return fmt.Errorf("module %s is there twice, as %s and as %s: name the folder of one kernel, lib/modules/VERSION", base, other, name)
		}
		m.files[base] = name
		return nil
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("listing modules in %s: %w", dir, err)
	case len(m.files) == 0:
		return nil, fmt.Errorf("listing modules in %s: no .ko file is below it; name the folder lib/modules/VERSION of the kernel's package", dir)
	}
	return m, nil
}

// moduleName is a module's name as the kernel has it.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }

// A module is one that is to be loaded.
type module struct {
	name string
	body []byte
}

// closure are the wanted modules in an order in which they can be loaded. What has no
// file is taken to be part of the kernel.
func (m *Modules) closure(wanted ...string) ([]module, error) {
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		return nil, fmt.Errorf("opening modules: %w", err)
	}
	defer root.Close()
	var all []module
	seen := map[string]bool{}
	var add func(name string) error
	add = func(name string) error {
		file, there := m.files[name]
		if seen[name] || !there {
			return nil
		}
		seen[name] = true
		body, err := readModule(root, file)
		if err != nil {
			return fmt.Errorf("reading module %s: %w", path.Join(m.dir, file), err)
		}
		needs, err := m.needs(body)
		if err != nil {
			return fmt.Errorf("reading module %s: %w", path.Join(m.dir, file), err)
		}
		for _, n := range needs {
			if err := add(n); err != nil {
				return err
			}
		}
		all = append(all, module{name, body})
		return nil
	}
	for _, name := range wanted {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// readModule reads a module, uncompressed.
func readModule(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch path.Ext(name) {
	case ".ko":
	case ".gz":
		if r, err = gzip.NewReader(f); err != nil {
			return nil, err
		}
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("compressed as %s; uncompress the modules first (unxz -k)", path.Ext(name))
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(b) > maxModule {
		err = fmt.Errorf("more than %d bytes", maxModule)
	}
	return b, err
}

// needs are the modules that a module says it needs. Those of its "softdep" are
// algorithms, which may be in modules of other names; the generic ones are taken.
//
// https://docs.kernel.org/kbuild/modules.html
func (m *Modules) needs(body []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	s := f.Section(".modinfo")
	if s == nil {
		return nil, errors.New("it has no .modinfo: not a kernel's module")
	}
	info, err := s.Data()
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.SplitSeq(string(info), "\x00") {
		key, value, _ := strings.Cut(line, "=")
		switch key {
		case "depends":
			for name := range strings.SplitSeq(value, ",") {
				names = append(names, moduleName(name))
			}
		case "softdep":
			before, _, _ := strings.Cut(value, "post:")
			for _, name := range strings.Fields(strings.TrimPrefix(before, "pre:")) {
				names = append(names, m.algorithm(moduleName(strings.TrimPrefix(name, "crypto-"))))
			}
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return n == "" }), nil
}

// algorithm is the module of an algorithm, "" for none.
func (m *Modules) algorithm(name string) string {
	for _, n := range []string{name, name + "_generic", strings.Split(name, "_")[0] + "_generic"} {
		if m.files[n] != "" {
			return n
		}
	}
	return ""
}

// A driver is what a kernel needs to have for a machine of boot's, as a module or not.
var drivers = []string{"virtio_pci", "virtio_blk", "virtio_net"}

// prelude is the first process where more has to be done than to start the agent:
// it loads modules, in the order of their names, sets the address that kernels without
// CONFIG_IP_PNP do not take from their command line, waits for the disk, and starts the
// agent. A squashfs gets a writable overlay first, as in docs/squashfs.md.
func prelude(format, agent string) string {
	const begin = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev 2>/dev/null
for m in /modules/*.ko; do
	[ -f "$m" ] || continue
	$b insmod "$m" || echo "fledge boot: $m cannot be loaded"
done
$b ip link set lo up
$b ip link set eth0 up && $b ip addr add ` + guestIP + `/` + prefix + ` dev eth0 2>/dev/null && $b ip route add default via ` + hostIP + `
n=0
until [ -b /dev/vda ] || [ $n = 100 ]; do $b sleep 0.1; n=$((n+1)); done
[ -b /dev/vda ] || echo "fledge boot: there is no /dev/vda"
`
	if format != "squashfs" {
		return begin + "$b umount /dev 2>/dev/null\nexec /bin/kestrel\n"
	}
	return begin + `set -e
$b mkdir -p /lower /rw /new
$b mount -t squashfs -o ro /dev/vda /lower
$b mount -t tmpfs rw /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay root -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work /new
$b mkdir -p /new/proc /new/sys /new/dev
$b mount -t proc proc /new/proc
$b mount -t sysfs sys /new/sys
$b mount -t devtmpfs dev /new/dev
exec $b switch_root /new ` + agent + " stage2\n"
}

// moduleRecords are modules in the initramfs, by names whose order is that of loading.
func moduleRecords(all []module) []record {
	records := []record{{name: "modules", mode: modeDir}}
	for i, m := range all {
		records = append(records, record{
			name: fmt.Sprintf("modules/%03d-%s.ko", i, m.name), mode: modeFile, size: int64(len(m.body)), body: bytes.NewReader(m.body),
		})
	}
	return records
}

// fstypeWord is what the command line has to say for the agent to take a disk for
// what it is: Volant's own says ext4, and the first word of that name wins.
func fstypeWord(format string) string { return "volant.rootfs_fstype=" + format }

// checkFormat refuses what cannot boot, and says what is missing.
func checkFormat(format, extra string, k *Kernel) error {
	if cmp.Or(format, formatExt4) == formatExt4 {
		return nil
	}
	if k.Volant {
		return fmt.Errorf("the kernel is Volant's, which has no driver for %s; name one that has it with --kernel FILE, and with --modules FOLDER the folder of its modules, if the driver is one", format)
	}
	if !slices.Contains(strings.Fields(extra), fstypeWord(format)) {
		return fmt.Errorf("this is %s, but Volant mounts a rootfs as ext4 unless the kernel command line says otherwise: add --kernel-cmdline %q, here and to 'volar vms create'", format, fstypeWord(format))
	}
	return nil
}
