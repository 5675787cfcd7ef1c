package elfread

import (
	"bytes"
	"debug/elf"
	"fmt"

	"github.com/volant/fledge-action/build/tree"
)

// maxSectionNames is how much of the table of section names is read, in bytes.
const maxSectionNames = 1 << 20

// A Section is one entry of the table of sections.
type Section struct {
	Name string // at most 255 bytes of it
	Type elf.SectionType
	Size uint64 // bytes in the file: 0 for SHT_NOBITS
	Link uint32 // another section, for symbol tables that of their names
	// Loaded says that the section is part of the running program.
	Loaded bool
}

// Sections reads the table of sections, the first [MaxSections] of it. A file without
// one has no sections. A section that reaches past the end of the file is counted up to
// the end.
func Sections(c tree.Content) (Header, []Section, error) {
	s, err := newSource(c)
	if err != nil {
		return Header{}, nil, err
	}
	defer s.Close()
	p, err := newParser(s)
	if err != nil {
		return Header{}, nil, err
	}
	all, err := p.sections()
	return p.header, all, err
}

// section is a section header.
type section struct {
	name       uint64
	off, flags uint64
	Section
}

func (p *parser) sections() ([]Section, error) {
	const part = "section headers"
	entry := uint64(40)
	if p.wide {
		entry = 64
	}
	switch {
	case p.shoff == 0:
		return nil, nil
	case p.shentsize != entry:
		return nil, &FormatError{part, fmt.Sprintf("entries of %d bytes, want %d", p.shentsize, entry)}
	}
	first, err := p.src.read(part, p.shoff, entry)
	if err != nil {
		return nil, err
	}
	// Numbers that do not fit into the header stand in the first section.
	n, names := p.shnum, p.shstrindex
	zero := p.section(first)
	if n == 0 {
		n = zero.Size
	}
	if names == uint64(elf.SHN_XINDEX) {
		names = uint64(zero.Link)
	}
	n = min(n, MaxSections)
	b, err := p.src.read(part, p.shoff, n*entry)
	if err != nil {
		return nil, err
	}
	raw := make([]section, n)
	for i := range raw {
		raw[i] = p.section(b[uint64(i)*entry:][:entry])
	}
	var text []byte
	if names < n {
		s := raw[names]
		if text, err = p.src.read("section names", s.off, min(s.Size, maxSectionNames)); err != nil {
			return nil, err
		}
	}
	all := make([]Section, n)
	for i, s := range raw {
		if s.name < uint64(len(text)) {
			name, _, _ := bytes.Cut(text[s.name:], []byte{0})
			s.Name = string(name[:min(len(name), 255)])
		}
		if s.Type == elf.SHT_NOBITS || s.off > p.src.size {
			s.Size = 0
		}
		s.Size = min(s.Size, p.src.size-min(s.off, p.src.size))
		s.Loaded = s.flags&uint64(elf.SHF_ALLOC) != 0
		all[i] = s.Section
	}
	return all, nil
}

func (p *parser) section(b []byte) section {
	f := fields{p, b}
	var s section
	s.name = f.u32()
	s.Type = elf.SectionType(f.u32())
	s.flags = f.word()
	f.word() // sh_addr
	s.off, s.Size = f.word(), f.word()
	s.Link = uint32(f.u32())
	return s
}
