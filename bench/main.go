package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/volant/fledge-action/internal/e2e"
	"github.com/volant/fledge-action/internal/testneed"
)

func main() {
	if len(os.Args) > 2 && os.Args[1] == measureArg {
		os.Exit(measured(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rounds := flag.Int("n", 5, "rounds per image; one more goes before and is not counted")
	small := flag.Bool("small", false, "the small image only, two rounds, no document")
	images := flag.String("images", "small,big,huge", "images to build")
	archive := flag.Bool("archive", false, "measure the compression of an initramfs instead of images")
	initramfs := flag.Bool("initramfs", false, "measure whole builds of an initramfs instead of images")
	formats := flag.Bool("formats", false, "measure whole builds of squashfs, xfs and btrfs beside the usual ways instead of images")
	doc := flag.String("doc", "docs/benchmarks.md", "document to put the tables into")
	program := flag.String("fledge", "", "fledge to measure (default: built from this module)")
	flag.Parse()
	if *small {
		*images, *rounds, *doc = "small", 2, ""
	}
	cache, err := testneed.CacheDir()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(cache, "bench-") // beside the images: the same disk
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if *archive {
		text, err := archiveBench(ctx, work, *rounds)
		if err != nil {
			return err
		}
		return publish(*doc, archiveCommand, text)
	}
	b := bench{work: work, fledge: *program}
	if err := b.build(ctx); err != nil {
		return err
	}
	if *initramfs || *formats {
		layout, err := e2e.Maker{Cache: cache, Log: io.Discard}.Image(ctx, e2e.Small)
		if err != nil {
			return err
		}
		bench, command := b.initramfsBench, initramfsCommand
		if *formats {
			bench, command = b.formatBench, formatsCommand
		}
		text, err := bench(ctx, layout, *rounds)
		if err != nil {
			return err
		}
		return publish(*doc, command, text)
	}
	var results []result
	for image := range strings.SplitSeq(*images, ",") {
		r, err := b.image(ctx, e2e.Maker{Cache: cache, Log: io.Discard}, image, *rounds)
		if err != nil {
			return fmt.Errorf("image %q: %w", image, err)
		}
		results = append(results, r)
	}
	text, err := report(results, *rounds)
	if err != nil {
		return err
	}
	return publish(*doc, imageCommand, text)
}

// publish prints a table and puts it into the document, if there is one.
func publish(doc, command, text string) error {
	fmt.Print(text)
	if doc == "" {
		return nil
	}
	return replace(doc, command, text)
}

// A bench has the programs to be compared.
type bench struct {
	work   string // folder for everything that comes and goes
	fledge string
	floor  string
	peer   string
}

func (b *bench) build(ctx context.Context) error {
	var err error
	if b.peer, err = filepath.Abs("bench/peer.sh"); err != nil {
		return err
	}
	if _, err := os.Stat(b.peer); err != nil {
		return fmt.Errorf("bench runs in the module's root: %w", err)
	}
	b.floor = filepath.Join(b.work, "floor")
	programs := map[string]string{b.floor: "./bench/floor"}
	if b.fledge == "" {
		b.fledge = filepath.Join(b.work, "fledge")
		programs[b.fledge] = "./cmd/fledge"
	}
	for out, pkg := range programs {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", pkg, err, text)
		}
	}
	return nil
}

// The three contestants, in the order of the tables.
const (
	floorTool = iota
	fledgeTool
	peerTool
	tools
)

var toolNames = [tools]string{"floor", "fledge", "peer"}

// A sample is one run of one program, its children included.
type sample struct {
	CPU  float64 // user and system seconds
	Wall float64 // seconds
	Peak float64 // MiB resident in the largest process
}

// A result is everything about one image.
type result struct {
	image   string
	input   input
	samples [tools][]sample // by round
}

// input describes an image. The numbers come from the floor's run and the finished image.
type input struct {
	Layers   int   `json:"layers"`
	Stored   int64 `json:"stored"`
	Unpacked int64 `json:"unpacked"`
	size     int64 // of the finished image
	held     int64 // of it on disk, without holes
	inodes   int64
}

// image measures all tools on one image. They take turns, and who begins changes from
// round to round.
func (b *bench) image(ctx context.Context, maker e2e.Maker, name string, rounds int) (result, error) {
	at := slices.IndexFunc(e2e.Kinds, func(k e2e.Kind) bool { return k.Name == name })
	if at < 0 {
		return result{}, errors.New("no such image")
	}
	fmt.Fprintf(os.Stderr, "%s: making the image, unless it is cached\n", name)
	layout, err := maker.Image(ctx, e2e.Kinds[at])
	if err != nil {
		return result{}, err
	}
	r := result{image: name}
	// The first round warms caches and tells how much the image holds.
	if _, err := b.run(ctx, layout, fledgeTool, &r.input); err != nil {
		return result{}, err
	}
	for round := -1; round < rounds; round++ {
		for i := range tools {
			tool := (i + round + 1) % tools
			s, err := b.run(ctx, layout, tool, &r.input)
			if err != nil {
				return result{}, fmt.Errorf("round %d, %s: %w", round+1, toolNames[tool], err)
			}
			fmt.Fprintf(os.Stderr, "%s: round %d: %-6s cpu %6.2f s, wall %6.2f s, peak %4.0f MiB\n", name, round+1, toolNames[tool], s.CPU, s.Wall, s.Peak)
			if round >= 0 {
				r.samples[tool] = append(r.samples[tool], s)
			}
		}
	}
	return r, nil
}

// run runs one tool once. What it made goes away again, and the disk is quiet
// before and after.
func (b *bench) run(ctx context.Context, layout e2e.Layout, tool int, in *input) (sample, error) {
	dir := filepath.Join(b.work, "run")
	defer func() {
		os.RemoveAll(dir)
		unix.Sync()
	}()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return sample{}, err
	}
	out := filepath.Join(dir, "out.img")
	var argv []string
	switch tool {
	case floorTool:
		argv = []string{b.floor, "-write", strconv.FormatInt(in.held, 10), "-out", out, layout.Dir}
	case peerTool:
		argv = []string{b.peer, layout.Dir, layout.Tag, filepath.Join(dir, "work"), out}
	case fledgeTool:
		config := fmt.Sprintf(fledgeConfig, layout.Source())
		if err := os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(config), 0o644); err != nil {
			return sample{}, err
		}
		argv = []string{b.fledge, "build", "--config", "fledge.toml", "-o", "out.img", "-q"}
	}
	s, stdout, err := measure(ctx, dir, argv)
	if err != nil {
		return sample{}, err
	}
	switch tool {
	case floorTool:
		err = json.Unmarshal(stdout, in)
	case fledgeTool:
		err = in.look(ctx, out)
	}
	return s, err
}

const fledgeConfig = `version = "1"
strategy = "oci_rootfs"

[plugin]
name = "bench"

[source]
image = %q

[agent]
source_strategy = "none"
`

// look finds out about the finished image.
func (in *input) look(ctx context.Context, image string) error {
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return err
	}
	in.size, in.held = st.Size, st.Blocks*512
	out, err := exec.CommandContext(ctx, "/usr/sbin/dumpe2fs", "-h", image).Output()
	if err != nil {
		return fmt.Errorf("asking dumpe2fs: %w", err)
	}
	fields := map[string]int64{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key], _ = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	}
	in.inodes = fields["Inode count"] - fields["Free inodes"]
	return nil
}
