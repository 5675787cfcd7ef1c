package boot

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// HasAgent says whether the kernel brings an initramfs that starts a root
// filesystem, as Volant's does.
type HasAgent string

// The values of HasAgent.
const (
	// AgentAuto asks how the kernel was found: Volant's own brings it. Of another
	// nothing is known, so the image's agent is given to it if there is one.
	AgentAuto HasAgent = "auto"
	AgentYes  HasAgent = "yes"
	AgentNo   HasAgent = "no"
)

// A starter decides whether the kernel needs an initramfs made here to start a
// root filesystem, and makes it from the image's own agent.
type starter struct {
	disk    *disk
	kernel  *Kernel
	has     HasAgent
	agent   string   // a file to be taken instead of the image's agent
	busybox string   // a file to be taken instead of the image's busybox
	modules *Modules // of the kernel, nil for none
}

// A stage is that initramfs before it is written.
type stage struct {
	records []record
	close   func()
	hint    hint
	agent   string // its name in the image, "" if it is from elsewhere
}

// before has something done when the stage is closed.
func (st *stage) before(do func()) {
	rest := st.close
	st.close = func() { do(); rest() }
}

// A hint is what to think of when a boot fails and the console shows sign.
type hint struct{ sign, text string }

var (
	hintNoAgent = hint{"Kernel panic", "the image has no agent and boot gave the kernel none; if the kernel brings none either, nothing mounts the disk: " +
		"boot Volant's kernel, or build the plugin with an [agent]"}
	hintNoDriver  = hint{"no such device", "the kernel has no driver for the root filesystem; if that is a module, name the folder of the kernel's modules with --modules"}
	hintNoBusybox = hint{"busybox", "the image has no static busybox; kestrel runs /bin/busybox to make the disk the root, and Volant's kernel brings one: give one with --busybox FILE"}
)

// plan returns nil records when the kernel needs nothing.
func (s *starter) plan(ctx context.Context) (*stage, error) {
	has := s.has
	if has == AgentAuto && s.kernel.Volant {
		has = AgentYes
	}
	st := &stage{close: func() {}}
	if s.disk.format != formatExt4 {
		st.hint = hintNoDriver
	}
	if has == AgentYes {
		if s.modules != nil {
			return nil, errors.New("a kernel that brings an agent has the drivers to find it; leave --modules out")
		}
		return st, nil
	}
	agent, err := s.program(ctx, "bin/kestrel", s.agent, agentNames, maxAgent, st)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.agent == "" && s.has == AgentAuto && !s.kernel.Bare:
		st.hint = hintNoAgent
		return st, nil
	case errors.Is(err, fs.ErrNotExist) && s.agent == "":
		return nil, fmt.Errorf("looking for the agent in the image: %w; the kernel %s brings none, so nothing would mount the disk: boot Volant's kernel, or build the plugin with an [agent]", err, s.kernel.Name)
	case err != nil:
		return nil, fmt.Errorf("reading the agent: %w", err)
	}
	st.records = []record{
		{name: "bin", mode: modeDir},
		agent,
		{name: "dev", mode: modeDir},
		{name: "dev/console", mode: modeConsole, major: consoleMajor, minor: consoleMinor},
		link("init", "bin/kestrel"),
		{name: "mnt", mode: modeDir},
		{name: "proc", mode: modeDir},
		{name: "sys", mode: modeDir},
	}
	busybox, err := s.program(ctx, "bin/busybox", s.busybox, busyboxNames, maxBusybox, st)
	switch {
	case err == nil:
		st.records = append(st.records, busybox)
	case s.busybox != "":
		st.close()
		return nil, fmt.Errorf("reading busybox: %w", err)
	case s.scripted():
		st.close()
		return nil, fmt.Errorf("reading busybox: %w; it loads modules and lays the overlay over a squashfs: give a static one with --busybox FILE", err)
	default:
		st.hint = hintNoBusybox
	}
	if s.scripted() {
		if err := s.script(st); err != nil {
			st.close()
			return nil, err
		}
	}
	return st, nil
}

// scripted tells whether more has to be done than to start the agent.
func (s *starter) scripted() bool { return s.modules != nil || s.disk.format == formatSquashfs }

// script puts the prelude in the place of the agent, and the modules it loads beside it.
func (s *starter) script(st *stage) error {
	i := slices.IndexFunc(st.records, func(r record) bool { return r.name == "init" })
	text := prelude(s.disk.format, cmp.Or(st.agent, agentNames[0]))
	st.records[i] = record{name: "init", mode: modeProgram, size: int64(len(text)), body: strings.NewReader(text)}
	if s.modules == nil {
		return nil
	}
	wanted := append(drivers[:len(drivers):len(drivers)], s.disk.format)
	if s.disk.format == formatSquashfs {
		wanted = append(wanted, "overlay")
	}
	all, err := s.modules.closure(wanted...)
	if err != nil {
		return err
	}
	st.records = append(st.records, moduleRecords(all)...)
	return nil
}

func link(name, target string) record {
	return record{name: name, mode: modeLink, size: int64(len(target)), body: strings.NewReader(target)}
}

// program takes a static program from the file, if one is given, else from the image.
func (s *starter) program(ctx context.Context, as, file string, names []string, limit int64, st *stage) (record, error) {
	if file != "" {
		return s.fromFile(as, file, limit, st)
	}
	p, err := s.disk.find(ctx, names, limit)
	if err != nil {
		return record{}, err
	}
	if err := s.usable(p.elf.Arch, p.elf.Interp); err != nil {
		return record{}, fmt.Errorf("%s: %w", p.name, err)
	}
	r, err := p.open()
	if err != nil {
		return record{}, err
	}
	st.before(func() { _ = r.Close() })
	if as == "bin/kestrel" {
		st.agent = p.name
	}
	return record{name: as, mode: modeProgram, size: p.size, body: r}, nil
}

func (s *starter) fromFile(as, file string, limit int64, st *stage) (record, error) {
	f, err := os.Open(file)
	if err != nil {
		return record{}, err
	}
	st.before(func() { _ = f.Close() })
	info, err := f.Stat()
	switch {
	case err != nil:
		return record{}, err
	case !info.Mode().IsRegular():
		return record{}, fmt.Errorf("%s: not a regular file", file)
	case info.Size() > limit:
		return record{}, fmt.Errorf("%s has %d bytes, the limit is %d", file, info.Size(), limit)
	}
	e, err := elfHead(io.NewSectionReader(f, 0, info.Size()))
	if err == nil {
		err = s.usable(e.Arch, e.Interp)
	}
	if err != nil {
		return record{}, fmt.Errorf("%s: %w", file, err)
	}
	return record{name: as, mode: modeProgram, size: info.Size(), body: io.NewSectionReader(f, 0, info.Size())}, nil
}

// usable refuses a program that cannot run from the initramfs, where it is alone.
func (s *starter) usable(arch, interp string) error {
	if arch != s.kernel.Arch {
		return fmt.Errorf("it is for %s, the kernel is for %s", arch, s.kernel.Arch)
	}
	if interp != "" {
		return fmt.Errorf("it is not static: it needs %s", interp)
	}
	return nil
}

// probeRecords are an initramfs whose only program says hello on the console.
// rdinit= names it, so that a kernel's own init does not matter.
func probeRecords() []record {
	program := helloProgram()
	return []record{
		{name: "dev", mode: modeDir},
		{name: "dev/console", mode: modeConsole, major: consoleMajor, minor: consoleMinor},
		{name: probeName, mode: modeProgram, size: int64(len(program)), body: bytes.NewReader(program)},
	}
}
