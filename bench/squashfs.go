package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/internal/e2e"
)

// squashfsConfig makes a squashfs of an image.
const squashfsConfig = fledgeConfig + `
[filesystem]
type = "squashfs"
compression = %q
compression_level = %d
`

// squashfsPair is one packing by both: by fledge, and by umoci and mksquashfs.
type squashfsPair struct {
	compression string
	level       int
	fledge      packed
	peer        packed
}

// squashfsBench measures whole builds of squashfs images beside the usual way to one. Each
// pair takes turns.
func (b *bench) squashfsBench(ctx context.Context, layout e2e.Layout, rounds int) (string, error) {
	pairs := []squashfsPair{{compression: "zstd", level: 3}, {compression: "zstd", level: 15}, {compression: "gzip", level: 9}}
	for round := -1; round < rounds; round++ {
		for i := range pairs {
			p := &pairs[i]
			for turn := range 2 {
				c, name, measure := &p.fledge, "fledge", b.squashfsOnce
				if (turn+round)%2 != 0 {
					c, name, measure = &p.peer, "peer", b.mksquashfsOnce
				}
				s, size, err := measure(ctx, layout, p.compression, p.level)
				if err != nil {
					return "", fmt.Errorf("%s %s %d: %w", name, p.compression, p.level, err)
				}
				fmt.Fprintf(os.Stderr, "squashfs: round %d: %-6s %s %2d cpu %6.2f s, wall %6.2f s, peak %4.0f MiB\n", round+1, name, p.compression, p.level, s.CPU, s.Wall, s.Peak)
				if c.size = size; round >= 0 {
					c.samples = append(c.samples, s)
				}
			}
		}
	}
	return squashfsReport(pairs, rounds)
}

func (b *bench) squashfsOnce(ctx context.Context, layout e2e.Layout, compression string, level int) (sample, int64, error) {
	return b.buildOnce(ctx, fmt.Sprintf(squashfsConfig, layout.Source(), compression, level), "bench.img")
}

// mksquashfsOnce unpacks the image and makes a squashfs of the files.
func (b *bench) mksquashfsOnce(ctx context.Context, layout e2e.Layout, compression string, level int) (sample, int64, error) {
	dir := filepath.Join(b.work, "run")
	defer func() {
		os.RemoveAll(dir)
	}()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return sample{}, 0, err
	}
	out := filepath.Join(dir, "bench.img")
	script := fmt.Sprintf(`set -e; umoci --log=error unpack --image "$1" bundle; exec mksquashfs bundle/rootfs "$2" -comp %s -Xcompression-level %d -mkfs-time 0 -no-progress -quiet`, compression, level)
	s, _, err := measure(ctx, dir, []string{"/bin/sh", "-c", script, "peer", layout.Dir + ":" + layout.Tag, out})
	if err != nil {
		return sample{}, 0, err
	}
	size, err := fileSize(out)
	return s, size, err
}

func squashfsReport(pairs []squashfsPair, rounds int) (string, error) {
	machine, err := describeMachine()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Machine: %s. Rounds: %d. The image is \"small\".\n\n", machine, rounds)
	out.WriteString("| compression | fledge, MB | peer, MB | fledge, CPU s | peer, CPU s | fledge, peak MiB | peer, peak MiB | size / peer | CPU / peer | wall / peer |\n")
	out.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, p := range pairs {
		r := result{}
		r.samples[fledgeTool], r.samples[peerTool] = p.fledge.samples, p.peer.samples
		var cpus, walls []float64
		for i, s := range p.fledge.samples {
			cpus = append(cpus, s.CPU/p.peer.samples[i].CPU)
			walls = append(walls, s.Wall/p.peer.samples[i].Wall)
		}
		fmt.Fprintf(&out, "| %s %d | %s | %s | %s | %s | %s | %s | %.3f | %s | %s |\n", p.compression, p.level, megabytes(p.fledge.size), megabytes(p.peer.size),
			spread("%.2f", r.each(fledgeTool, cpu)), spread("%.2f", r.each(peerTool, cpu)), spread("%.0f", r.each(fledgeTool, peak)), spread("%.0f", r.each(peerTool, peak)),
			float64(p.fledge.size)/float64(p.peer.size), spread("%.2f", cpus), spread("%.2f", walls))
	}
	return out.String(), nil
}
