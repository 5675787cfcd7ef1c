package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

func TestArgumentsFollowWhatTheToolKnows(t *testing.T) {
	o := Options{UUID: [16]byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x87, 0x88, 0x89, 0x90}}
	const id = "11223344-5566-8788-8990-000000000000"
	xfs := func(meta, inode, naming string) string {
		return "-q -f -K -b size=4096 -s size=4096 -m crc=1,finobt=1,rmapbt=0,reflink=1,bigtime=1,inobtcount=1,uuid=" + id + meta +
			" -i size=512,maxpct=0,sparse=1" + inode + " -n size=4096,version=2" + naming + " -d agcount=4 -l size=67108864"
	}
	btrfs := func(features, more string) string {
		return "-q -f -K -U " + id + " --csum crc32c -s 4096 -n 16384 -m single -d single -O extref,skinny-metadata,no-holes" + features + " -R free-space-tree" + more
	}
	tests := []struct {
		name, usage, want string
		args              func(Options, string) []string
	}{
		{"xfs 5.13", "bigtime=0|1", xfs("", "", ""), xfsArgs},
		{"xfs 6.1", "projid32bit=0|1,sparse=0|1,nrext64=0|1]", xfs("", ",nrext64=0", ""), xfsArgs},
		{"xfs later", "metadir=0|1,autofsck=xxx nrext64=0|1,exchange=0|1 ftype=0|1,parent=0|1", xfs(",metadir=0,autofsck=0", ",nrext64=0,exchange=0", ",parent=0"), xfsArgs},
		{"btrfs 6.2", "no-holes free-space-tree", btrfs("", ""), btrfsArgs},
		{"btrfs later", "--device-uuid UUID block-group-tree", btrfs(",^block-group-tree", " --device-uuid "+uuidText(deviceUUID(o.UUID))), btrfsArgs},
	}
	for _, test := range tests {
		if got := strings.Join(test.args(o, test.usage), " "); got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
	if got := checkArgs(XFS); !slices.Equal(got, []string{"-n", "-f", "/proc/self/fd/3"}) {
		t.Errorf("xfs_repair %q", got)
	}
	if got := checkArgs(Btrfs); !slices.Equal(got, []string{"check", "--readonly", "/proc/self/fd/3"}) {
		t.Errorf("btrfs %q", got)
	}
	if got := mkfsEnv(time.Unix(-5, 0)); got[0] != "SOURCE_DATE_EPOCH=0" {
		t.Errorf("environment %q", got)
	}
}

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"mkfs.xfs version 6.1.0\n": "6.1.0", "mkfs.btrfs, part of btrfs-progs v6.2\n": "6.2", "btrfs-progs v6.6.3\n+LZO": "6.6.3", "": "", "none": "",
	} {
		if got := versionIn(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestMissingToolNamesItsPackage(t *testing.T) {
	_, err := findTools(context.Background(), Type("xfs"), "")
	if err != nil && !strings.Contains(err.Error(), "xfsprogs") {
		t.Error(err)
	}
	for _, kind := range []Type{XFS, Btrfs} {
		for _, p := range kind.programs() {
			if p.deb == "" || p.name == "" {
				t.Errorf("%+v", p)
			}
		}
	}
}

func TestRunsOfZerosAreLeftOut(t *testing.T) {
	b := make([]byte, 7*block+10)
	b[block], b[3*block-1], b[5*block+1], b[7*block+9] = 1, 2, 3, 4
	for _, size := range []int{block, 2 * block, 16 * block} { // of the buffer
		got := make([]byte, len(b))
		var starts []int64
		err := eachRun(context.Background(), bytes.NewReader(b), int64(len(b)), make([]byte, size), func(data []byte, at int64) error {
			copy(got[at:], data)
			starts = append(starts, at/block)
			for i := 0; i < len(data); i += block {
				if isZero(data[i:min(i+block, len(data))]) {
					t.Errorf("buffer of %d: block %d is zeros", size, at/block)
				}
			}
			return nil
		})
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("buffer of %d: %v, runs at %v", size, err, starts)
		}
	}
}

func TestContentOfAnotherSizeIsRefused(t *testing.T) {
	for text, want := range map[string]string{"123": "unexpected EOF", "12345": "1 bytes more than the size of 4", "": "unexpected EOF"} {
		err := eachRun(context.Background(), strings.NewReader(text), 4, make([]byte, block), func([]byte, int64) error { return nil })
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := eachRun(ctx, strings.NewReader("1234"), 4, make([]byte, block), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := eachRun(context.Background(), io.MultiReader(strings.NewReader("1234"), failing{}), 4, make([]byte, block), func([]byte, int64) error { return nil }); !errors.Is(err, errFailing) {
		t.Error(err)
	}
}

var errFailing = errors.New("failing")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errFailing }

// TestLimits has values at each limit and one past it.
func TestLimits(t *testing.T) {
	for _, kind := range []Type{XFS, Btrfs} {
		l := typeLimits[kind]
		at := time.Unix(0, 0)
		link := func(n int) *tree.Node {
			return &tree.Node{Mode: fs.ModeSymlink, Target: strings.Repeat("t", n), ModTime: at}
		}
		xattr := func(name string, size int) *tree.Node {
			return &tree.Node{ModTime: at, Xattrs: map[string]string{name: strings.Repeat("v", size)}}
		}
		device := func(major, minor uint32) *tree.Node {
			return &tree.Node{Mode: fs.ModeDevice, ModTime: at, Rdev: tree.Rdev{Major: major, Minor: minor}}
		}
		most := min(maxXattrValue, l.xattr-len("user.x"))
		tests := []struct {
			name string
			node *tree.Node
			want string // of the message; "" for none
		}{
			{"longest target", link(l.target), ""},
			{"longer target", link(l.target + 1), "a symlink target of"},
			{"no target", link(0), "a symlink target of 0 bytes"},
			{"NUL in target", &tree.Node{Mode: fs.ModeSymlink, Target: "a\x00", ModTime: at}, "NUL byte"},
			{"first time", &tree.Node{ModTime: l.minTime}, ""},
			{"before", &tree.Node{ModTime: l.minTime.Add(-1)}, "modification time"},
			{"last time", &tree.Node{ModTime: l.maxTime}, ""},
			{"after", &tree.Node{ModTime: l.maxTime.Add(1)}, "modification time"},
			{"largest xattr", xattr("user.x", most), ""},
			{"larger xattr", xattr("user.x", most+1), "the limit is"},
			{"longest xattr name", xattr("user."+strings.Repeat("n", 250), 0), ""},
			{"longer xattr name", xattr("user."+strings.Repeat("n", 251), 0), "an xattr name of 256 bytes"},
			{"NUL in xattr name", xattr("user.\x00", 0), "NUL byte"},
			{"unknown namespace", xattr("com.apple."+strings.Repeat("n", 300), 1<<20), ""},
			{"largest device", device(l.major, l.minor), ""},
			{"larger major", device(l.major+1, 0), "device number "},
			{"larger minor", device(0, l.minor+1), "device number 0:"},
		}
		if kind == XFS {
			tests = append(tests, tests[0])
			tests[len(tests)-1].name, tests[len(tests)-1].node, tests[len(tests)-1].want = "ACL of xfs", xattr("trusted.SGI_ACL_FILE", 4), "itself names an ACL"
		}
		w := &writer{opt: Options{Type: kind}}
		for _, test := range tests {
			err := w.checkNode("dir/name", test.node)
			var limit *LimitError
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%s, %s: %v", kind, test.name, err)
			case test.want != "" && (!errors.As(err, &limit) || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), `"/dir/name"`)):
				t.Errorf("%s, %s: %v, want %s", kind, test.name, err, test.want)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{}, {Type: "ext4"}, {Type: XFS, FreeBytes: -1}, {Type: Btrfs, FreeBytes: maxSize + 1}} {
		if _, err := Write(context.Background(), nil, tree.New(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if err := (Options{Type: XFS, FreeBytes: maxSize}).check(); err != nil {
		t.Error(err)
	}
}

func TestSizesHaveAMinimum(t *testing.T) {
	for kind, want := range map[Type]int64{XFS: MinXFS, Btrfs: MinBtrfs} {
		if got := (need{inodes: 1}).size(kind, 16<<20); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
		if a, b := (need{data: 1 << 30}).size(kind, 0), (need{data: 1 << 30}).size(kind, 1<<30); b-a < 1<<30 || a < 1<<30 {
			t.Errorf("%s: %d, and %d with a GiB more", kind, a, b)
		}
	}
}
