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

// initramfsConfig makes an archive of an image, without what would be downloaded.
const initramfsConfig = `version = "1"
strategy = "initramfs"

[plugin]
name = "bench"

[init]
path = "/bin/sh"

[source]
image = %q
busybox = false

[initramfs]
compression = %q
`

// initramfsBench measures whole builds of archives from an image, for each
// compression, beside the build of a disk image from the same.
func (b *bench) initramfsBench(ctx context.Context, layout e2e.Layout, rounds int) (string, error) {
	contestants := []struct{ name, config, out string }{
		{"ext4", fmt.Sprintf(fledgeConfig, layout.Source()), "bench.img"},
		{"gzip", fmt.Sprintf(initramfsConfig, layout.Source(), "gzip"), "bench.cpio.gz"},
		{"zstd", fmt.Sprintf(initramfsConfig, layout.Source(), "zstd"), "bench.cpio.zst"},
		{"none", fmt.Sprintf(initramfsConfig, layout.Source(), "none"), "bench.cpio"},
	}
	results := make([]packed, len(contestants))
	for round := -1; round < rounds; round++ {
		for i := range contestants {
			at := (i + round + 1) % len(contestants)
			c, r := contestants[at], &results[at]
			s, size, err := b.buildOnce(ctx, c.config, c.out)
			if err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(os.Stderr, "initramfs: round %d: %-5s cpu %6.2f s, wall %6.2f s, peak %4.0f MiB\n", round+1, c.name, s.CPU, s.Wall, s.Peak)
			if r.name, r.size = c.name, size; round >= 0 {
				r.samples = append(r.samples, s)
			}
		}
	}
	return initramfsReport(results, rounds)
}

// buildOnce runs one build in a folder of its own, which goes away again.
func (b *bench) buildOnce(ctx context.Context, config, out string) (sample, int64, error) {
	dir := filepath.Join(b.work, "run")
	defer func() {
		os.RemoveAll(dir)
		unix.Sync()
	}()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return sample{}, 0, err
	}
	if err := os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(config), 0o644); err != nil {
		return sample{}, 0, err
	}
	s, _, err := measure(ctx, dir, []string{b.fledge, "build", "-o", out, "-q"})
	if err != nil {
		return sample{}, 0, err
	}
	size, err := stored(filepath.Join(dir, out))
	return s, size, err
}

// initramfsReport writes the table in Markdown.
func initramfsReport(results []packed, rounds int) (string, error) {
	machine, err := describeMachine()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Machine: %s. Rounds: %d. The image is \"small\".\n\n", machine, rounds)
	out.WriteString("| artifact | size, MB | CPU, s | wall, s | peak, MiB |\n|---|---|---|---|---|\n")
	for _, p := range results {
		r := result{}
		r.samples[fledgeTool] = p.samples
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", p.name, megabytes(p.size),
			spread("%.2f", r.each(fledgeTool, cpu)), spread("%.2f", r.each(fledgeTool, wall)), spread("%.0f", r.each(fledgeTool, peak)))
	}
	return out.String(), nil
}
