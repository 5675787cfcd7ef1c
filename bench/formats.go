package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/e2e"
)

// formatConfig makes an image of a filesystem that is not ext4.
const formatConfig = fledgeConfig + `
[filesystem]
type = %q
`

// formatPair is one filesystem by both: by fledge, and by the usual way to it.
type formatPair struct {
	format string
	level  string // lines of the table [filesystem] for a squashfs, else ""
	name   string
	peer   string // the peer's last command: it makes "$1" of bundle/rootfs
	ours   packed
	theirs packed
}

// loopPeer makes an empty filesystem, mounts it and copies the files.
const loopPeer = `size=$(du -sm --apparent-size bundle/rootfs | cut -f1); size=$((size + size / 5 + 100)); [ "$size" -ge 300 ] || size=300
truncate -s "${size}M" "$1"; mkfs.%[1]s -q -f "$1"; mkdir mnt; mount -o loop "$1" mnt; trap 'umount mnt' EXIT; cp -a bundle/rootfs/. mnt/`

func formatPairs() []formatPair {
	var all []formatPair
	for _, c := range []struct {
		name  string
		level int
	}{{"zstd", 3}, {"zstd", 15}, {"gzip", 9}} {
		all = append(all, formatPair{
			format: "squashfs", name: fmt.Sprintf("squashfs %s %d", c.name, c.level), level: fmt.Sprintf("compression = %q\ncompression_level = %d\n", c.name, c.level),
			peer: fmt.Sprintf(`mksquashfs bundle/rootfs "$1" -comp %s -Xcompression-level %d -mkfs-time 0 -no-progress -quiet`, c.name, c.level),
		})
	}
	for _, format := range []string{"xfs", "btrfs"} {
		all = append(all, formatPair{format: format, name: format, peer: fmt.Sprintf(loopPeer, format)})
	}
	return all
}

// formatBench measures whole builds of the filesystems beside the usual ways to them. Each
// pair takes turns.
func (b *bench) formatBench(ctx context.Context, layout e2e.Layout, rounds int) (string, error) {
	pairs := formatPairs()
	for round := -1; round < rounds; round++ {
		for i := range pairs {
			p := &pairs[i]
			for turn := range 2 {
				c, name, measure := &p.ours, "fledge", b.formatOnce
				if (turn+round)%2 != 0 {
					c, name, measure = &p.theirs, "peer", b.formatPeerOnce
				}
				s, size, err := measure(ctx, layout, p)
				if err != nil {
					return "", fmt.Errorf("%s %s: %w", name, p.name, err)
				}
				fmt.Fprintf(os.Stderr, "formats: round %d: %-6s %-16s cpu %6.2f s, wall %6.2f s, peak %4.0f MiB\n", round+1, name, p.name, s.CPU, s.Wall, s.Peak)
				if c.size = size; round >= 0 {
					c.samples = append(c.samples, s)
				}
			}
		}
	}
	return formatReport(pairs, rounds)
}

func (b *bench) formatOnce(ctx context.Context, layout e2e.Layout, p *formatPair) (sample, int64, error) {
	return b.buildOnce(ctx, fmt.Sprintf(formatConfig, layout.Source(), p.format)+p.level, "bench.img")
}

// formatPeerOnce unpacks the image and makes a filesystem of the files.
func (b *bench) formatPeerOnce(ctx context.Context, layout e2e.Layout, p *formatPair) (sample, int64, error) {
	dir := filepath.Join(b.work, "run")
	defer func() {
		os.RemoveAll(dir)
	}()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return sample{}, 0, err
	}
	out := filepath.Join(dir, "bench.img")
	script := "set -e; umoci --log=error unpack --image \"$2\" bundle\n" + p.peer
	s, _, err := measure(ctx, dir, []string{"/bin/sh", "-c", script, "peer", out, layout.Dir + ":" + layout.Tag})
	if err != nil {
		return sample{}, 0, err
	}
	size, err := stored(out)
	return s, size, err
}

// stored is what a file takes on the disk, in bytes: an image has holes.
func stored(path string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("looking at %s: %w", path, err)
	}
	return st.Blocks * 512, nil
}

func formatReport(pairs []formatPair, rounds int) (string, error) {
	machine, err := describeMachine()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Machine: %s. Rounds: %d. The image is \"small\".\n\n", machine, rounds)
	out.WriteString("| image | fledge, MB | peer, MB | fledge, CPU s | peer, CPU s | fledge, peak MiB | peer, peak MiB | size / peer | CPU / peer | wall / peer |\n")
	out.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, p := range pairs {
		r := result{}
		r.samples[fledgeTool], r.samples[peerTool] = p.ours.samples, p.theirs.samples
		var cpus, walls []float64
		for i, s := range p.ours.samples {
			cpus = append(cpus, s.CPU/p.theirs.samples[i].CPU)
			walls = append(walls, s.Wall/p.theirs.samples[i].Wall)
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %s | %s | %.3f | %s | %s |\n", p.name, megabytes(p.ours.size), megabytes(p.theirs.size),
			spread("%.2f", r.each(fledgeTool, cpu)), spread("%.2f", r.each(peerTool, cpu)), spread("%.0f", r.each(fledgeTool, peak)), spread("%.0f", r.each(peerTool, peak)),
			float64(p.ours.size)/float64(p.theirs.size), spread("%.2f", cpus), spread("%.2f", walls))
	}
	return out.String(), nil
}
