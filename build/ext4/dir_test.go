package ext4

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/testneed"
)

// colliding returns names of one length for a directory in which leaf blocks end
// between two names of the same hash, and those pairs.
func colliding(seed [16]byte, perLeaf int) (names []string, pairs [][2]string) {
	type hashed struct {
		hash uint32
		name string
	}
	all := make([]hashed, 300_000)
	for i := range all {
		name := fmt.Sprintf("\xe9%027d", i)
		hash, _ := hashName(seed, name)
		all[i] = hashed{hash, name}
	}
	slices.SortFunc(all, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	var passed []string
	for i := 0; i+1 < len(all); i++ {
		if all[i].hash != all[i+1].hash {
			passed = append(passed, all[i].name)
			continue
		}
		fill := (2*perLeaf - 1 - len(names)%perLeaf) % perLeaf
		if len(passed) < fill {
			continue
		}
		names = append(names, passed[len(passed)-fill:]...)
		pair := [2]string{all[i].name, all[i+1].name}
		names, pairs, passed = append(names, pair[:]...), append(pairs, pair), nil
		i++
	}
	return names, pairs
}

// TestNamesOfOneHashInTwoLeaves lets the kernel look for names whose hash is also
// that of the last name in the block before.
func TestNamesOfOneHashInTwoLeaves(t *testing.T) {
	seed := [16]byte{1}
	perLeaf := dirRoom / dirent{name: string(make([]byte, 28))}.size()
	names, pairs := colliding(seed, perLeaf)
	if len(pairs) < 5 {
		t.Fatalf("%d pairs", len(pairs))
	}
	tr := tree.New()
	for _, name := range names {
		put(t, tr, "d/"+name, &tree.Node{Mode: 0o644})
	}
	img, _ := makeImage(t, tr, Options{HashSeed: seed, FreeBytes: 16 << 20})
	fsck(t, img)
	oracle(t, img, tr)
	dir, unmount := testneed.Mount(t, img, "rw")
	for _, pair := range pairs {
		for _, name := range pair {
			if _, err := os.Lstat(filepath.Join(dir, "d", name)); err != nil {
				t.Error(err)
			}
		}
		if err := os.Remove(filepath.Join(dir, "d", pair[1])); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "d", pair[1]), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
	unmount()
	fsck(t, img)
}
