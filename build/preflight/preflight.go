package preflight

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/volant/fledge-action/build/elfread"
	"github.com/volant/fledge-action/build/tree"
)

// Limits of one Check.
const (
	MaxLibraries = 2000  // libraries of one program
	MaxPrograms  = 20000 // programs of an initramfs that are looked at

	maxWork = 512 << 10 // names looked up, and 4 KiB pieces of text searched
	maxKept = 32 << 20  // bytes of names kept from ELF files
)

// Medium is what the guest boots from.
type Medium int

// The media.
const (
	Rootfs    Medium = iota // an ext4 image; Volant's kernel brings the first processes
	Initramfs               // the tree holds the first process itself
)

// A Guest is what is going to boot.
type Guest struct {
	Tree   *tree.Tree
	Arch   string // in OCI's words: "amd64", "arm64"; one that is not known turns checks of it off
	Medium Medium

	Entrypoint []string          // of the manifest's workload; none skips its checks
	Workdir    string            // absolute; "" is "/"
	Env        map[string]string // of the workload: PATH and LD_LIBRARY_PATH count

	// Boot are the programs that an initramfs runs before the workload, each started by
	// the one before: "/init" and then the agent or the author's init. With only
	// one of them nothing is known of what is mounted.
	Boot []string
	// Free is the space a root filesystem leaves for files, in bytes.
	Free int64
}

// A Finding is something that keeps the guest from working, or may.
type Finding struct {
	Key     string // of the manifest ("workload.entrypoint[0]") or of fledge.toml ("init"); "source.image" for the tree as a whole
	Path    string // what it is about, absolute in the guest; "" for nothing in particular
	Message string
	Fix     string // what to do
	Fatal   bool   // the guest cannot boot, or the workload cannot start
	Note    bool   // worth knowing, but true of most guests that are well
}

// errSpent says that the work allowed is done.
var errSpent = errors.New("the limit of work is reached")

// Check looks at a guest. Fatal findings come first, otherwise they are in the order
// of the checks.
func Check(ctx context.Context, g Guest) ([]Finding, error) {
	c := &checker{Guest: g, ctx: ctx, files: map[*tree.Node]parsed{}, system: map[string]found{}}
	if g.Workdir == "" {
		c.Workdir = "/"
	}
	if err := c.run(); err != nil && !errors.Is(err, errSpent) {
		return nil, err
	} else if err != nil {
		c.add(Finding{
			Key: "source.image", Message: "there is more to look at than a check does; what comes later was not checked",
			Fix: "nothing, if the artifact is meant to be like this",
		})
	}
	fatal, rest := []Finding(nil), []Finding(nil)
	for _, f := range c.findings {
		if f.Fatal {
			fatal = append(fatal, f)
		} else {
			rest = append(rest, f)
		}
	}
	return append(fatal, rest...), nil
}

type checker struct {
	Guest
	ctx      context.Context // of the one call of Check
	findings []Finding
	hidden   []string // folders that are mounted over, as the tree resolves them, without a leading slash

	files  map[*tree.Node]parsed
	system map[string]found // what the loader finds without a program's own paths
	conf   *loaderConf
	work   int
	kept   int
}

// parsed is a file as ELF.
type parsed struct {
	file *elfread.File
	err  error // elfread.ErrNoELF or *elfread.FormatError
}

func (c *checker) run() error {
	c.hidden = c.mounts()
	for i, name := range c.Boot {
		key := bootKey(i, name)
		if err := c.program(key, name, i == 0); err != nil {
			return err
		}
		if i > 0 && c.same(c.Boot[i-1], name) {
			c.add(Finding{
				Key: key, Path: name, Fatal: true, Fix: "name another program",
				Message: fmt.Sprintf("%q is %q, which starts it: the boot would never end", name, c.Boot[i-1]),
			})
		}
	}
	if err := c.workload(); err != nil {
		return err
	}
	if c.Medium == Rootfs {
		if err := c.rootfs(); err != nil {
			return err
		}
	}
	c.hiddenFiles()
	if c.Medium == Initramfs {
		return c.scan()
	}
	return nil
}

// same tells whether two names lead to one file.
func (c *checker) same(a, b string) bool {
	x, wrong := c.find(a)
	y, alsoWrong := c.find(b)
	return wrong == nil && alsoWrong == nil && x.node == y.node
}

// bootKey is the key of fledge.toml that decides the i-th program.
func bootKey(i int, name string) string {
	switch {
	case i == 0:
		return "init"
	case path.Base(name) == "kestrel":
		return "agent"
	}
	return "init.path"
}

func (c *checker) workload() error {
	if wrong := c.directory(c.Workdir); wrong != nil {
		c.report("workload.workdir", c.Workdir, wrong.of(c.Workdir, "name a folder of the artifact"))
	}
	if len(c.Entrypoint) == 0 {
		return nil
	}
	name := c.Entrypoint[0]
	if !path.IsAbs(name) {
		c.report("workload.entrypoint[0]", name, problemf("give the program's absolute path",
			"%q is no absolute path, and Volant's agent has no PATH to find it by", name))
		return nil
	}
	return c.program("workload.entrypoint[0]", name, false)
}

// program adds what keeps a program from starting. first is true before anything is
// mounted.
func (c *checker) program(key, name string, first bool) error {
	hidden := c.hidden
	if first {
		c.hidden = nil
	}
	problems, err := c.start(name)
	c.hidden = hidden
	c.report(key, name, problems)
	return err
}

func (c *checker) report(key, name string, problems []problem) {
	for _, p := range problems {
		c.add(Finding{Key: key, Path: name, Message: p.message, Fix: p.fix, Fatal: !p.doubtful})
	}
}

func (c *checker) add(f Finding) { c.findings = append(c.findings, f) }

// spend counts work, and tells when there was enough of it.
func (c *checker) spend(n int) error {
	c.work += n
	if c.work%1024 == 0 || n > 1024 {
		if err := c.ctx.Err(); err != nil {
			return err
		}
	}
	if c.work > maxWork || c.kept > maxKept {
		return errSpent
	}
	return nil
}

// A problem is one reason why a program does not start.
type problem struct {
	message, fix string
	doubtful     bool // it may start all the same
}

func problemf(fix, format string, args ...any) []problem {
	return []problem{{message: fmt.Sprintf(format, args...), fix: fix}}
}

// A fault is what is wrong with a name: what it "is" comes after the name.
type fault struct{ is, fix string }

func faultf(fix, format string, args ...any) *fault { return &fault{fmt.Sprintf(format, args...), fix} }

// of makes a problem of what is wrong with name. fix is for a fault without its own.
func (f *fault) of(name, fix string) []problem {
	return []problem{{message: fmt.Sprintf("%q %s", name, f.is), fix: cmp.Or(f.fix, fix)}}
}

// orFix is the fault with a fix, if it had none.
func (f *fault) orFix(fix string) *fault { return &fault{f.is, cmp.Or(f.fix, fix)} }

// place is where a name leads to.
type place struct {
	at   string // in the tree, without symbolic links
	node *tree.Node
}

// absolute makes a name start at the root: the guest's processes start in Workdir.
func (c *checker) absolute(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return c.Workdir + "/" + name // not cleaned: a link may stand before ".."
}

// find follows a name to a node. The fault is nil if there is one that the running
// guest sees too.
func (c *checker) find(name string) (place, *fault) {
	full := c.absolute(name)
	at, err := c.Tree.Resolve(full, true)
	switch {
	case errors.Is(err, tree.ErrLoop):
		return place{}, faultf("repair the symbolic links in the image", "cannot be reached: %v", tree.ErrLoop)
	case errors.Is(err, tree.ErrNotDir):
		return place{}, faultf("", "cannot be reached: something on the way is not a folder")
	case err != nil:
		return place{}, faultf("", "cannot be reached: the name is too long or holds a NUL byte")
	}
	for _, dir := range c.hidden {
		if strings.HasPrefix(at, dir+"/") {
			return place{}, faultf("put it into another folder", "is not there when the workload runs: an empty filesystem is mounted on %q", "/"+dir)
		}
	}
	n, err := c.Tree.Lookup(at)
	switch {
	case err == nil:
		return place{at, n}, nil
	case at != strings.TrimPrefix(path.Clean(full), "/"):
		return place{}, faultf("", "leads to %q, which is not in the artifact", "/"+at)
	}
	return place{}, faultf("", "is not in the artifact")
}

// directory says why name is no directory of the running guest, nil if it is one.
func (c *checker) directory(name string) *fault {
	at, err := c.Tree.Resolve(name, true)
	if err == nil && slices.Contains(c.hidden, at) {
		return nil // made and mounted at boot
	}
	p, wrong := c.find(name)
	if wrong == nil && !p.node.Mode.IsDir() {
		wrong = faultf("", "is a %s, not a folder", kind(p.node))
	}
	return wrong
}

// elf reads a file once.
func (c *checker) elf(n *tree.Node) (*elfread.File, error) {
	if p, ok := c.files[n]; ok {
		return p.file, p.err
	}
	if err := c.spend(1); err != nil {
		return nil, err
	}
	var p parsed
	if n.Content == nil {
		p.err = elfread.ErrNoELF
	} else {
		p.file, p.err = elfread.Read(n.Content)
	}
	var format *elfread.FormatError
	if p.err != nil && !errors.Is(p.err, elfread.ErrNoELF) && !errors.As(p.err, &format) {
		return nil, fmt.Errorf("reading a file of the artifact: %w", p.err)
	}
	if f := p.file; f != nil {
		c.kept += 64 + len(f.Interp) + len(f.Soname) + len(f.Rpath) + len(f.Runpath)
		for _, name := range f.Needed {
			c.kept += 16 + len(name)
		}
	}
	c.files[n] = p
	return p.file, p.err
}

// isFinding tells whether an error of elf says something about the file.
func isFinding(err error) bool {
	var format *elfread.FormatError
	return errors.Is(err, elfread.ErrNoELF) || errors.As(err, &format)
}

// architecture is what a machine runs.
type architecture struct {
	machine  elf.Machine
	class    elf.Class
	data     elf.Data
	platform string   // AT_PLATFORM, for $PLATFORM
	multi    []string // Debian's names of library folders
	musl     string   // in ld-musl-ARCH.so.1
}

// architectures by OCI's names. Those of 32 bits are there for messages, too.
var architectures = map[string]architecture{
	"amd64":    {elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB, "x86_64", []string{"x86_64-linux-gnu"}, "x86_64"},
	"arm64":    {elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB, "aarch64", []string{"aarch64-linux-gnu"}, "aarch64"},
	"386":      {elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB, "i686", []string{"i386-linux-gnu", "i686-linux-gnu"}, "i386"},
	"arm":      {elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB, "v7l", []string{"arm-linux-gnueabihf", "arm-linux-gnueabi"}, "armhf"},
	"riscv64":  {elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB, "", []string{"riscv64-linux-gnu"}, "riscv64"},
	"ppc64le":  {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB, "power9", []string{"powerpc64le-linux-gnu"}, "powerpc64le"},
	"ppc64":    {elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2MSB, "power9", []string{"powerpc64-linux-gnu"}, "powerpc64"},
	"s390x":    {elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB, "z13", []string{"s390x-linux-gnu"}, "s390x"},
	"mips64le": {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2LSB, "", []string{"mips64el-linux-gnuabi64"}, "mips64el"},
	"mips64":   {elf.EM_MIPS, elf.ELFCLASS64, elf.ELFDATA2MSB, "", []string{"mips64-linux-gnuabi64"}, "mips64"},
	"loong64":  {elf.EM_LOONGARCH, elf.ELFCLASS64, elf.ELFDATA2LSB, "loongarch64", []string{"loongarch64-linux-gnu"}, "loongarch64"},
}

// archName is a file's architecture in OCI's words where they have one.
func archName(h elfread.Header) string {
	for name, a := range architectures {
		if h.Machine == a.machine && h.Class == a.class && h.Data == a.data {
			return name
		}
	}
	bits, order := 64, "little"
	if h.Class == elf.ELFCLASS32 {
		bits = 32
	}
	if h.Data == elf.ELFDATA2MSB {
		order = "big"
	}
	return fmt.Sprintf("%v (%d bits, %s-endian)", h.Machine, bits, order)
}

// runs tells whether the guest's machine runs a file.
func (c *checker) runs(h elfread.Header) bool {
	a, ok := architectures[c.Arch]
	return !ok || h.Machine == a.machine && h.Class == a.class && h.Data == a.data
}

// wrongArch is the fault of a file for another machine.
func (c *checker) wrongArch(h elfread.Header) *fault {
	fix := fmt.Sprintf("build it for %s, or choose the image by platform in [source]", c.Arch)
	if h.Class == elf.ELFCLASS32 {
		fix = fmt.Sprintf("build it for %s: Volant's kernel runs no 32-bit programs", c.Arch)
	}
	return faultf(fix, "is for %s, but the artifact is for %s", archName(h), c.Arch)
}
