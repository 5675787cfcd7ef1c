package loop

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/volant/fledge-action/internal/tool"
)

// toolPath is where programs are looked for after Options.Path: mkfs and its like are
// often in folders that users' PATH lacks.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// imageFile is the image in a program that gets it as its first further descriptor.
const imageFile = "/proc/self/fd/3"

// A program is one that is needed for a type.
type program struct {
	name    string
	deb     string // Debian's package of it
	version []string
	usage   [][]string // arguments that make it tell its options
}

// programs lists mkfs first, then what checks.
func (t Type) programs() []program {
	if t == XFS {
		return []program{
			{"mkfs.xfs", "xfsprogs", []string{"-V"}, [][]string{{}}},
			{"xfs_repair", "xfsprogs", []string{"-V"}, nil},
		}
	}
	return []program{
		{"mkfs.btrfs", "btrfs-progs", []string{"--version"}, [][]string{{"--help"}, {"-O", "list-all"}}},
		{"btrfs", "btrfs-progs", []string{"--version"}, nil},
	}
}

// tools are the programs of a type, found.
type tools struct {
	mkfs, check string // paths
	usage       string // of mkfs
	list        []Tool
}

// findTools looks for the programs and asks them for their versions.
func findTools(ctx context.Context, t Type, path string) (*tools, error) {
	found := &tools{}
	for i, p := range t.programs() {
		at, err := tool.Look(p.name, path+string(filepath.ListSeparator)+toolPath)
		if err != nil {
			return nil, fmt.Errorf("%w: %s writes and checks %s filesystems; install Debian's package %s, or build with type = \"ext4\"", err, p.deb, t, p.deb)
		}
		text, err := run(ctx, tool.Command{Argv: append([]string{at}, p.version...)})
		if err != nil {
			return nil, err
		}
		found.list = append(found.list, Tool{p.name, versionIn(text)})
		if i > 0 {
			found.check = at
			continue
		}
		found.mkfs = at
		for _, args := range p.usage {
			text, err := usage(ctx, append([]string{at}, args...))
			if err != nil {
				return nil, err
			}
			found.usage += text
		}
	}
	return found, nil
}

// versionIn finds the version in what a program says of itself; "" without one.
func versionIn(text string) string {
	for _, word := range strings.Fields(text) {
		if w := strings.TrimPrefix(word, "v"); w != "" && w[0] >= '0' && w[0] <= '9' {
			return strings.TrimSuffix(w, ",")
		}
	}
	return ""
}

// usage is what a program tells of its options; most fail after it.
func usage(ctx context.Context, argv []string) (string, error) {
	text, _ := run(ctx, tool.Command{Argv: argv})
	return text, ctx.Err()
}

// maxOutput is how much of the output of a program is kept, in bytes.
const maxOutput = 64 << 10

// output keeps the end of what a program prints.
type output struct{ bytes.Buffer }

func (o *output) Write(p []byte) (int, error) {
	n, err := o.Buffer.Write(p)
	if over := o.Len() - maxOutput; over > 0 {
		o.Next(over)
	}
	return n, err
}

// run runs a program to its end, or to that of ctx. It returns both outputs.
func run(ctx context.Context, c tool.Command) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var out output
	c.Stdout = &out
	p, err := tool.Start(c)
	if err != nil {
		return "", err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		return "", ctx.Err()
	}
	return out.String() + p.Stderr(), p.Err()
}

// mkfs makes an empty filesystem that fills the image.
func (w *writer) mkfs(ctx context.Context) error {
	args := xfsArgs(w.opt, w.tools.usage)
	if w.opt.Type == Btrfs {
		args = btrfsArgs(w.opt, w.tools.usage)
	}
	command := tool.Command{
		Argv:  append(append([]string{w.tools.mkfs}, args...), imageFile),
		Env:   mkfsEnv(w.opt.Epoch),
		Files: []*os.File{w.image},
	}
	text, err := run(ctx, command)
	for tries := 1; err != nil && strings.Contains(text, uuidTaken) && tries < maxTaken; tries++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(takenPoll):
		}
		text, err = run(ctx, command)
	}
	if err != nil && strings.Contains(text, uuidTaken) {
		return fmt.Errorf("%w; another image of the same content is attached to a loop device: see 'losetup -a', unmount and detach it", err)
	}
	return err
}

// mkfs.btrfs makes no second filesystem of one UUID while it finds the first on a device.
// That may be another build of the same image, which is waited for.
const (
	uuidTaken = "non-unique UUID"
	maxTaken  = 60
	takenPoll = 500 * time.Millisecond
)

// mkfsEnv makes mkfs use no clock and no random numbers, as far as its version can, and
// no list of devices that were there once.
func mkfsEnv(epoch time.Time) []string {
	return []string{"SOURCE_DATE_EPOCH=" + strconv.FormatInt(max(0, epoch.Unix()), 10), "DETERMINISTIC_SEED=1", "BLKID_FILE=/dev/null"}
}

// Geometry that does not depend on the machine or the version of a tool.
const (
	xfsSector   = 4096 // fits disks with sectors of 512 bytes and of 4096
	xfsGroups   = 4
	xfsLog      = 64 << 20 // the smallest that mkfs.xfs makes by itself, whatever the size
	btrfsSector = 4096
	btrfsNode   = 16 << 10
)

// xfsArgs are the options of mkfs.xfs. Everything that a later version may choose
// otherwise is named, if this one knows it: usage is what it says of its options. What
// is on needs Linux 5.10.
func xfsArgs(o Options, usage string) []string {
	meta := "crc=1,finobt=1,rmapbt=0,reflink=1,bigtime=1,inobtcount=1,uuid=" + uuidText(o.UUID)
	for _, feature := range []string{"metadir", "autofsck"} {
		if strings.Contains(usage, feature+"=") {
			meta += "," + feature + "=0"
		}
	}
	inode := "size=512,maxpct=0,sparse=1"
	for _, feature := range []string{"nrext64", "exchange"} {
		if strings.Contains(usage, feature+"=") {
			inode += "," + feature + "=0"
		}
	}
	naming := "size=4096,version=2"
	if strings.Contains(usage, "parent=") {
		naming += ",parent=0"
	}
	return []string{
		"-q", "-f", "-K", "-b", "size=4096", "-s", "size=" + strconv.Itoa(xfsSector),
		"-m", meta, "-i", inode, "-n", naming,
		"-d", "agcount=" + strconv.Itoa(xfsGroups), "-l", "size=" + strconv.Itoa(xfsLog),
	}
}

// btrfsArgs are the options of mkfs.btrfs, as xfsArgs are. Metadata is kept once: the
// image is downloaded at every start of a VM and its digest is known, so a second copy
// would cost time and find nothing.
func btrfsArgs(o Options, usage string) []string {
	features := "extref,skinny-metadata,no-holes"
	if strings.Contains(usage, "block-group-tree") {
		features += ",^block-group-tree"
	}
	args := []string{
		"-q", "-f", "-K", "-U", uuidText(o.UUID), "--csum", "crc32c", "-s", strconv.Itoa(btrfsSector), "-n", strconv.Itoa(btrfsNode),
		"-m", "single", "-d", "single", "-O", features, "-R", "free-space-tree",
	}
	if strings.Contains(usage, "--device-uuid") {
		args = append(args, "--device-uuid", uuidText(deviceUUID(o.UUID)))
	}
	return args
}

// deviceUUID is the UUID of the one device of a btrfs.
func deviceUUID(u [16]byte) [16]byte {
	sum := sha256.Sum256(append([]byte("fledge btrfs device\n"), u[:]...))
	d := [16]byte(sum[:])
	d[6] = d[6]&0x0f | 0x80 // version 8, "custom", of RFC 9562
	d[8] = d[8]&0x3f | 0x80
	return d
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
