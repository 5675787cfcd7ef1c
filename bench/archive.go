package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// archiveBytes is how much of this machine's files the archive holds.
const archiveBytes = 90 << 20

// archiveRoots are where they come from: what a root filesystem has.
var archiveRoots = []string{"/usr/bin", "/usr/sbin", "/usr/lib", "/etc", "/usr/share/zoneinfo", "/usr/share/doc"}

// A packing is one way to make the archive. In argv, LIST is the list of files, ARCHIVE
// the ready archive and OUT the file to write.
type packing struct {
	name string
	argv []string
	test []string // a program that checks what was written on standard input
}

// gzip9 is the packing that the others are compared with.
const gzip9 = "gzip -9n"

func packings(pack string) []packing {
	ours := func(name string, args ...string) packing {
		test := []string{"gzip", "-t"}
		if strings.Contains(name, "zstd") {
			test = []string{"zstd", "-tq"}
		}
		return packing{name, append([]string{pack, "-list", "LIST", "-out", "OUT"}, args...), test}
	}
	shell := func(command string) packing {
		return packing{command, []string{"/bin/sh", "-c", "exec " + command + " <ARCHIVE >OUT"}, []string{"gzip", "-t"}}
	}
	return []packing{
		shell(gzip9),
		shell("pigz -9n"),
		{"klauspost gzip 9", []string{pack, "-klauspost", "ARCHIVE", "-level", "9", "-out", "OUT"}, []string{"gzip", "-t"}},
		ours("fledge gzip, default"),
		ours("fledge gzip 6", "-level", "6"),
		ours("fledge gzip 9", "-level", "9"),
		ours("fledge zstd, default", "-compression", "zstd"),
	}
}

// A packed is everything about one packing.
type packed struct {
	name    string
	size    int64
	samples []sample // by round
}

// archiveBench measures all packings of one archive. They take turns as images' tools do.
func archiveBench(ctx context.Context, work string, rounds int) (string, error) {
	pack := filepath.Join(work, "pack")
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", pack, "./bench/pack").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building ./bench/pack: %w: %s", err, out)
	}
	list, files, err := archiveList(work)
	if err != nil {
		return "", err
	}
	archive := filepath.Join(work, "archive.cpio")
	if _, _, err := measure(ctx, work, []string{pack, "-list", list, "-compression", "none", "-out", archive}); err != nil {
		return "", err
	}
	size, err := fileSize(archive)
	if err != nil {
		return "", err
	}
	all := packings(pack)
	results := make([]packed, len(all))
	for round := range rounds {
		for i := range all {
			at := (i + round) % len(all)
			p, r := all[at], &results[at]
			s, size, err := p.run(ctx, work, strings.NewReplacer("LIST", list, "ARCHIVE", archive))
			if err != nil {
				return "", fmt.Errorf("%s: %w", p.name, err)
			}
			if r.size != 0 && r.size != size {
				return "", fmt.Errorf("%s: %d bytes, then %d", p.name, r.size, size)
			}
			r.name, r.size, r.samples = p.name, size, append(r.samples, s)
			fmt.Fprintf(os.Stderr, "archive: round %d: %-20s cpu %6.2f s, wall %6.2f s, %d bytes\n", round+1, p.name, s.CPU, s.Wall, size)
		}
	}
	return archiveReport(results, size, files, rounds)
}

// archiveList writes a list of files that together have about archiveBytes. Which ones is
// decided by a hash of their names, so that it is a mixture and the same each time.
func archiveList(work string) (path string, files int, err error) {
	type file struct {
		hash uint64
		path string
		size int64
	}
	var all []file
	for _, root := range archiveRoots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".gz") || strings.Contains(path, "\n") {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			h := fnv.New64a()
			h.Write([]byte(path))
			if info.Size() <= archiveBytes/8 {
				all = append(all, file{h.Sum64(), path, info.Size()})
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", 0, err
		}
	}
	slices.SortFunc(all, func(a, b file) int {
		if a.hash < b.hash {
			return -1
		}
		return 1
	})
	var list strings.Builder
	total := int64(0)
	for _, f := range all {
		if total += f.size; total > archiveBytes {
			break
		}
		list.WriteString(f.path + "\n")
		files++
	}
	path = filepath.Join(work, "list")
	return path, files, os.WriteFile(path, []byte(list.String()), 0o644)
}

// run packs once, has the result checked and removes it.
func (p packing) run(ctx context.Context, work string, names *strings.Replacer) (sample, int64, error) {
	out := filepath.Join(work, "packed")
	defer func() {
		os.Remove(out)
		unix.Sync()
	}()
	var argv []string
	for _, a := range p.argv {
		argv = append(argv, strings.ReplaceAll(names.Replace(a), "OUT", out))
	}
	s, _, err := measure(ctx, work, argv)
	if err != nil {
		return sample{}, 0, err
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return sample{}, 0, err
	}
	cmd := exec.CommandContext(ctx, p.test[0], p.test[1:]...)
	cmd.Stdin = bytes.NewReader(data)
	if text, err := cmd.CombinedOutput(); err != nil {
		return sample{}, 0, fmt.Errorf("%s: %w: %s", p.test[0], err, text)
	}
	return s, int64(len(data)), nil
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// archiveReport writes the table in Markdown.
func archiveReport(results []packed, size int64, files, rounds int) (string, error) {
	machine, err := describeMachine()
	if err != nil {
		return "", err
	}
	base := slices.IndexFunc(results, func(p packed) bool { return p.name == gzip9 })
	if base < 0 {
		return "", errors.New("no " + gzip9 + " among the results")
	}
	var out strings.Builder
	fmt.Fprintf(&out, "Machine: %s. Rounds: %d. The archive has %d files and %s MB.\n\n", machine, rounds, files, megabytes(size))
	out.WriteString("| program | size, MB | CPU, s | wall, s | peak, MiB | size / gzip -9n | CPU / gzip -9n |\n|---|---|---|---|---|---|---|\n")
	for _, p := range results {
		var ratios []float64
		for i, s := range p.samples {
			ratios = append(ratios, s.CPU/results[base].samples[i].CPU)
		}
		r := result{}
		r.samples[fledgeTool] = p.samples
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s | %.3f | %s |\n", p.name, megabytes(p.size),
			spread("%.2f", r.each(fledgeTool, cpu)), spread("%.2f", r.each(fledgeTool, wall)), spread("%.0f", r.each(fledgeTool, peak)),
			float64(p.size)/float64(results[base].size), spread("%.2f", ratios))
	}
	return out.String(), nil
}

func megabytes(n int64) string { return strconv.FormatFloat(float64(n)/1e6, 'f', 2, 64) }
