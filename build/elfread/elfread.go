package elfread

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/volant/fledge-action/build/tree"
)

// Limits. A file that exceeds one is a *FormatError, sections aside, of which the
// first ones count.
const (
	MaxDynamic  = 4096     // entries of the dynamic section
	MaxNeeded   = 1024     // DT_NEEDED entries
	MaxString   = 4095     // bytes in a name, which is PATH_MAX less its NUL
	MaxPath     = 64 << 10 // bytes in DT_RPATH or DT_RUNPATH
	MaxSections = 4096

	maxProgs = 64 << 10 // bytes of program headers: the kernel's own limit
)

// ErrNoELF says that a file does not begin as an ELF file does.
var ErrNoELF = errors.New("it is no ELF file")

// A FormatError says which part of an ELF file is broken.
type FormatError struct{ Part, Problem string }

func (e *FormatError) Error() string { return e.Part + ": " + e.Problem }

// A Header is the beginning of an ELF file.
type Header struct {
	Class   elf.Class
	Data    elf.Data
	Type    elf.Type
	Machine elf.Machine
	Entry   uint64
}

// A File is what decides whether and how a file is started.
type File struct {
	Header
	Loads  int    // PT_LOAD segments
	Interp string // PT_INTERP, "" for a static file

	// From the dynamic section. Strings are as they stand, "$ORIGIN" included.
	Soname       string
	Needed       []string
	Rpath        string // "" when there is a Runpath, as for the loader
	Runpath      string
	HasRunpath   bool
	NoDefaultLib bool // DF_1_NODEFLIB: no search in the cache and the default folders
}

// Read reads the headers and the dynamic section.
func Read(c tree.Content) (*File, error) {
	s, err := newSource(c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	p, err := newParser(s)
	if err != nil {
		return nil, err
	}
	progs, err := p.programs()
	if err != nil {
		return nil, err
	}
	f := &File{Header: p.header}
	for _, g := range progs {
		switch g.typ {
		case elf.PT_LOAD:
			f.Loads++
		case elf.PT_INTERP:
			if f.Interp == "" { // the kernel takes the first one
				f.Interp, err = p.interpreter(g)
			}
		case elf.PT_DYNAMIC:
			err = p.dynamic(f, g, progs)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// parser knows the file's class and byte order.
type parser struct {
	src    *source
	order  binary.ByteOrder
	wide   bool // 64 bits
	header Header

	phoff, shoff                 uint64
	phentsize, phnum             uint64
	shentsize, shnum, shstrindex uint64
}

// fields reads the numbers of one record one after another.
type fields struct {
	p *parser
	b []byte
}

func (f *fields) u16() uint64 {
	v := f.p.order.Uint16(f.b)
	f.b = f.b[2:]
	return uint64(v)
}

func (f *fields) u32() uint64 {
	v := f.p.order.Uint32(f.b)
	f.b = f.b[4:]
	return uint64(v)
}

// word is an address, offset or size: 4 or 8 bytes.
func (f *fields) word() uint64 {
	if !f.p.wide {
		return f.u32()
	}
	v := f.p.order.Uint64(f.b)
	f.b = f.b[8:]
	return v
}

func newParser(s *source) (*parser, error) {
	if !bytes.HasPrefix(s.head, []byte(elf.ELFMAG)) {
		return nil, ErrNoELF
	}
	if len(s.head) < elf.EI_NIDENT {
		return nil, &FormatError{"ELF header", "it lies past the end of the file"}
	}
	p := &parser{src: s, header: Header{Class: elf.Class(s.head[elf.EI_CLASS]), Data: elf.Data(s.head[elf.EI_DATA])}}
	size := 0
	switch p.header.Class {
	case elf.ELFCLASS64:
		size, p.wide = 64, true
	case elf.ELFCLASS32:
		size = 52
	default:
		return nil, &FormatError{"ELF header", fmt.Sprintf("class %d is neither 32 nor 64 bits", p.header.Class)}
	}
	switch p.header.Data {
	case elf.ELFDATA2LSB:
		p.order = binary.LittleEndian
	case elf.ELFDATA2MSB:
		p.order = binary.BigEndian
	default:
		return nil, &FormatError{"ELF header", fmt.Sprintf("byte order %d is neither little nor big endian", p.header.Data)}
	}
	if len(s.head) < size {
		return nil, &FormatError{"ELF header", "it lies past the end of the file"}
	}
	f := fields{p, s.head[elf.EI_NIDENT:size]}
	p.header.Type, p.header.Machine = elf.Type(f.u16()), elf.Machine(f.u16())
	f.u32() // e_version
	p.header.Entry, p.phoff, p.shoff = f.word(), f.word(), f.word()
	f.u32() // e_flags
	f.u16() // e_ehsize
	p.phentsize, p.phnum = f.u16(), f.u16()
	p.shentsize, p.shnum, p.shstrindex = f.u16(), f.u16(), f.u16()
	return p, nil
}

// prog is a program header.
type prog struct {
	typ                elf.ProgType
	off, vaddr, filesz uint64
}

func (p *parser) programs() ([]prog, error) {
	const part = "program headers"
	entry := uint64(32)
	if p.wide {
		entry = 56
	}
	switch {
	case p.phnum == 0:
		return nil, nil
	case p.phentsize != entry:
		return nil, &FormatError{part, fmt.Sprintf("entries of %d bytes, want %d", p.phentsize, entry)}
	case p.phnum*entry > maxProgs:
		return nil, &FormatError{part, fmt.Sprintf("%d bytes, the limit is %d", p.phnum*entry, maxProgs)}
	}
	b, err := p.src.read(part, p.phoff, p.phnum*entry)
	if err != nil {
		return nil, err
	}
	all := make([]prog, p.phnum)
	for i := range all {
		f := fields{p, b[uint64(i)*entry:][:entry]}
		g := prog{typ: elf.ProgType(f.u32())}
		if p.wide {
			f.u32() // p_flags
		}
		g.off, g.vaddr = f.word(), f.word()
		f.word() // p_paddr
		g.filesz = f.word()
		all[i] = g
	}
	return all, nil
}

// interpreter reads PT_INTERP by the kernel's rules.
func (p *parser) interpreter(g prog) (string, error) {
	const part = "program interpreter"
	if g.filesz < 2 || g.filesz > MaxString+1 {
		return "", &FormatError{part, fmt.Sprintf("a name of %d bytes, want 2 to %d", g.filesz, MaxString+1)}
	}
	b, err := p.src.read(part, g.off, g.filesz)
	if err != nil {
		return "", err
	}
	if b[len(b)-1] != 0 {
		return "", &FormatError{part, "its name does not end with a NUL byte"}
	}
	name, _, _ := bytes.Cut(b, []byte{0})
	if len(name) == 0 {
		return "", &FormatError{part, "its name is empty"}
	}
	return string(name), nil
}

// Tags of the dynamic section that debug/elf has, and the one flag looked at.
const nodeflib = uint64(elf.DF_1_NODEFLIB)

func (p *parser) dynamic(f *File, g prog, progs []prog) error {
	const part = "dynamic section"
	entry := uint64(8)
	if p.wide {
		entry = 16
	}
	n := g.filesz / entry
	b, err := p.src.read(part, g.off, min(n, MaxDynamic)*entry)
	if err != nil {
		return err
	}
	var needed []uint64
	at := map[elf.DynTag]uint64{}
	ended := false
	for len(b) > 0 && !ended {
		d := fields{p, b[:entry]}
		b = b[entry:]
		switch tag, value := elf.DynTag(d.word()), d.word(); tag {
		case elf.DT_NULL:
			ended = true
		case elf.DT_NEEDED:
			needed = append(needed, value)
		case elf.DT_STRTAB, elf.DT_STRSZ, elf.DT_SONAME, elf.DT_RPATH, elf.DT_RUNPATH:
			at[tag] = value
		case elf.DT_FLAGS_1:
			f.NoDefaultLib = value&nodeflib != 0
		}
	}
	switch {
	case !ended && n > MaxDynamic:
		return &FormatError{part, fmt.Sprintf("more than %d entries", MaxDynamic)}
	case len(needed) > MaxNeeded:
		return &FormatError{part, fmt.Sprintf("%d needed libraries, the limit is %d", len(needed), MaxNeeded)}
	}
	t := table{p: p, size: at[elf.DT_STRSZ]}
	if t.off, err = fileOffset(progs, at[elf.DT_STRTAB]); err != nil && len(needed) > 0 {
		return err
	} else if err != nil {
		return nil // there is nothing to read from it
	}
	return t.fill(f, needed, at)
}

// fileOffset is where in the file an address lies.
func fileOffset(progs []prog, addr uint64) (uint64, error) {
	for _, g := range progs {
		if g.typ == elf.PT_LOAD && addr >= g.vaddr && addr-g.vaddr < g.filesz && g.off+(addr-g.vaddr) >= g.off {
			return g.off + (addr - g.vaddr), nil
		}
	}
	return 0, &FormatError{"dynamic section", fmt.Sprintf("its string table at address %#x is not in the file", addr)}
}

// table is the dynamic string table.
type table struct {
	p         *parser
	off, size uint64
}

func (t table) fill(f *File, needed []uint64, at map[elf.DynTag]uint64) error {
	for _, off := range needed {
		name, err := t.text("name of a needed library", off, MaxString)
		if err != nil {
			return err
		}
		f.Needed = append(f.Needed, name)
	}
	for _, s := range []struct {
		tag  elf.DynTag
		part string
		max  uint64
		to   *string
	}{
		{elf.DT_SONAME, "name of the library", MaxString, &f.Soname},
		{elf.DT_RPATH, "DT_RPATH", MaxPath, &f.Rpath},
		{elf.DT_RUNPATH, "DT_RUNPATH", MaxPath, &f.Runpath},
	} {
		off, ok := at[s.tag]
		if !ok {
			continue
		}
		text, err := t.text(s.part, off, s.max)
		if err != nil {
			return err
		}
		*s.to = text
	}
	if _, f.HasRunpath = at[elf.DT_RUNPATH]; f.HasRunpath {
		f.Rpath = ""
	}
	return nil
}

// text reads the string at off of the table, of at most limit bytes.
func (t table) text(part string, off, limit uint64) (string, error) {
	if off >= t.size {
		return "", &FormatError{part, "it lies past the end of the string table"}
	}
	if t.off+off < t.off || t.off+off > t.p.src.size {
		return "", &FormatError{part, "it lies past the end of the file"}
	}
	room := min(t.size-off, t.p.src.size-t.off-off, limit+1)
	for n := min(room, 128); ; n = min(room, 4*n) { // most are short
		b, err := t.p.src.read(part, t.off+off, n)
		if err != nil {
			return "", err
		}
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(b[:i]), nil
		}
		if n == room {
			return "", &FormatError{part, fmt.Sprintf("it has no end within %d bytes", room)}
		}
	}
}
