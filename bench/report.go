package main

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// report writes the tables in Markdown.
func report(results []result, rounds int) (string, error) {
	var out strings.Builder
	machine, err := describeMachine()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&out, "Machine: %s. Rounds: %d.\n\n", machine, rounds)
	out.WriteString("| image | layers | stored, MiB | unpacked, MiB | inodes | ext4 image, MiB | of it on disk, MiB |\n|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		in := r.input
		fmt.Fprintf(&out, "| %s | %d | %d | %d | %d | %d | %d |\n",
			r.image, in.Layers, in.Stored>>20, in.Unpacked>>20, in.inodes, in.size>>20, in.held>>20)
	}
	out.WriteString("\n| image | program | CPU, s | wall, s | peak, MiB |\n|---|---|---|---|---|\n")
	for _, r := range results {
		for tool, name := range toolNames {
			fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.image, name,
				spread("%.2f", r.each(tool, cpu)), spread("%.2f", r.each(tool, wall)), spread("%.0f", r.each(tool, peak)))
		}
	}
	out.WriteString("\n| image | fledge / floor, CPU | fledge / floor, wall | fledge / peer, CPU | fledge / peer, wall |\n|---|---|---|---|---|\n")
	for _, r := range results {
		fmt.Fprintf(&out, "| %s | %s | %s | %s | %s |\n", r.image,
			spread("%.2f", r.ratio(floorTool, cpu)), spread("%.2f", r.ratio(floorTool, wall)),
			spread("%.2f", r.ratio(peerTool, cpu)), spread("%.2f", r.ratio(peerTool, wall)))
	}
	return out.String(), nil
}

func cpu(s sample) float64  { return s.CPU }
func wall(s sample) float64 { return s.Wall }
func peak(s sample) float64 { return s.Peak }

// each returns one number of every round.
func (r result) each(tool int, of func(sample) float64) []float64 {
	var out []float64
	for _, s := range r.samples[tool] {
		out = append(out, of(s))
	}
	return out
}

// ratio divides fledge's number by the other tool's of the same round.
func (r result) ratio(tool int, of func(sample) float64) []float64 {
	ours, theirs := r.each(fledgeTool, of), r.each(tool, of)
	for i := range ours {
		ours[i] /= theirs[i]
	}
	return ours
}

// spread writes the median and, in parentheses, the least and the most.
func spread(format string, values []float64) string {
	format = fmt.Sprintf("%s (%s-%s)", format, format, format)
	return fmt.Sprintf(format, median(values), slices.Min(values), slices.Max(values))
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// describeMachine names the class of machine and nothing that tells which one it is.
func describeMachine() (string, error) {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	model := "unknown processor"
	if m := regexp.MustCompile(`(?m)^model name\s*:\s*(.*)$`).FindSubmatch(info); m != nil {
		model = string(m[1])
	}
	var system unix.Sysinfo_t
	if err := unix.Sysinfo(&system); err != nil {
		return "", err
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", err
	}
	release := regexp.MustCompile(`^\d+\.\d+`).Find([]byte(unix.ByteSliceToString(name.Release[:])))
	ram := (uint64(system.Totalram)*uint64(system.Unit) + 1<<29) >> 30
	return fmt.Sprintf("%d × %s, %d GiB, Linux %s, %s", runtime.NumCPU(), model, ram, release, runtime.Version()), nil
}

// The commands whose tables a document has, each between two lines of its own.
const (
	imageCommand     = "go run ./bench"
	archiveCommand   = "go run ./bench -archive"
	initramfsCommand = "go run ./bench -initramfs"
	formatsCommand   = "go run ./bench -formats"
)

func marks(command string) (begin, end string) {
	return "<!-- begin: written by " + command + " -->\n", "<!-- end: written by " + command + " -->\n"
}

// replace puts text between a command's marks in a document.
func replace(path, command, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := marks(command)
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the line %q or %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+text+"\n"+end+after), 0o644)
}
