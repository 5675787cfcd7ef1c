package compare

import (
	"bytes"
	"context"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/ext4"
	"github.com/volant/fledge-action/build/squashfs"
	"github.com/volant/fledge-action/build/tree"
)

type output struct{ b []byte }

func (o *output) WriteAt(p []byte, off int64) (int, error) {
	if need := int(off) + len(p) - len(o.b); need > 0 {
		o.b = append(o.b, make([]byte, need)...)
	}
	return copy(o.b[off:], p), nil
}

func squashed(t testing.TB, tr *tree.Tree, opt squashfs.Options) []byte {
	t.Helper()
	if opt.Epoch.IsZero() {
		opt.Epoch = epoch
	}
	var o output
	_, err := squashfs.Write(context.Background(), &o, tr, opt)
	do(t, err)
	return o.b
}

func TestSquashfsDifferences(t *testing.T) {
	base := squashed(t, baseTree(t), squashfs.Options{})
	if r := difference(t, base, bytes.Clone(base)); !r.Same() || len(r.Paths)+len(r.Structures) > 0 {
		t.Errorf("the same image: %+v", r)
	}

	r := difference(t, base, squashed(t, baseTree(t), squashfs.Options{Epoch: epoch.Add(time.Second)}))
	wantLines(t, pathLines(r), nil)
	wantLines(t, structureLines(r), []string{"superblock: mod_time: 1714979289, then 1714979290"})
	if r.First == nil || r.First.A != "superblock mod_time" || r.First.Uncompressed != nil {
		t.Errorf("first %+v", r.First)
	}

	other := baseTree(t)
	n, err := other.Lookup("etc/passwd")
	do(t, err)
	n.UID, n.Xattrs = 5, map[string]string{"user.a": "2", "user.b": "2"}
	put(t, other, "etc/hosts", &tree.Node{Mode: 0o644, Content: content("127.0.0.1 localhosT\n")})
	put(t, other, "new", &tree.Node{Mode: fs.ModeNamedPipe | 0o600})
	r = difference(t, base, squashed(t, other, squashfs.Options{}))
	got := pathLines(r)
	for i, want := range []string{
		"etc/hosts: size: 20000, then 20", "", "etc/passwd: owner: 0:0, then 5:0", `etc/passwd: xattr user.a: "1", then "2"`, "new: only in b, a fifo",
	} {
		if i >= len(got) || want != "" && got[i] != want {
			t.Fatalf("line %d of %q is not %q", i, got, want)
		}
	}
	if lines := structureLines(r); !slices.ContainsFunc(lines, func(s string) bool { return s == "superblock: inode_count: 10, then 11" }) {
		t.Errorf("structures %q", lines)
	}
}

func TestASquashfsAndAnExt4HaveTheirPathsInCommon(t *testing.T) {
	r := difference(t, squashed(t, baseTree(t), squashfs.Options{}), image(t, baseTree(t), ext4.Options{}))
	wantLines(t, pathLines(r), []string{"lost+found: only in b, a dir"})
	wantLines(t, structureLines(r), nil)
}
