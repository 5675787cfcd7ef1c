package elftest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// A Spec says what a file is like. The zero value is a static amd64 program.
type Spec struct {
	Machine elf.Machine // 0 is EM_X86_64
	Class   elf.Class   // 0 is 64 bits
	Data    elf.Data    // 0 is little-endian
	Type    elf.Type    // 0 is ET_EXEC
	NoEntry bool
	NoLoad  bool

	Interp  string
	Soname  string
	Needed  []string
	Rpath   string
	Runpath string
	Flags1  elf.DynFlag1

	// Symbols is the size of a symbol table and of its names, in bytes each, and
	// Debug that of a section .debug_info. Without both there are no sections.
	Symbols, Debug int
	Go             bool // there is a section .go.buildinfo
}

// Program is a static program for amd64, which exits with status 0.
func Program() []byte { return Make(Spec{}) }

// Dynamic is an amd64 program with a loader that needs libraries.
func Dynamic(interp string, needed ...string) []byte {
	return Make(Spec{Type: elf.ET_DYN, Interp: interp, Needed: needed})
}

// Library is an amd64 library.
func Library(soname string, needed ...string) []byte {
	return Make(Spec{Type: elf.ET_DYN, NoEntry: true, Soname: soname, Needed: needed})
}

const (
	base    = 0x400000 // where the file is loaded
	codeLen = 9
)

// maker writes one file.
type maker struct {
	Spec
	b     bytes.Buffer
	order binary.ByteOrder
	wide  bool
}

// Make writes the file that s describes.
func Make(s Spec) []byte {
	m := maker{Spec: s, order: binary.LittleEndian}
	if s.Machine == 0 {
		m.Machine = elf.EM_X86_64
	}
	if s.Class == 0 {
		m.Class = elf.ELFCLASS64
	}
	if s.Data == 0 {
		m.Data = elf.ELFDATA2LSB
	}
	if s.Type == 0 {
		m.Type = elf.ET_EXEC
	}
	m.wide = m.Class == elf.ELFCLASS64
	if m.Data == elf.ELFDATA2MSB {
		m.order = binary.BigEndian
	}
	return m.make()
}

func (m *maker) make() []byte {
	ehdr, phdr := m.pick(52, 64), m.pick(32, 56)
	strtab, dyn := m.dynamicSection()
	progs := 0
	for _, there := range []bool{!m.NoLoad, m.Interp != "", len(dyn) > 0} {
		if there {
			progs++
		}
	}
	code := ehdr + progs*phdr
	interp := code + codeLen
	str := interp
	if m.Interp != "" {
		str += len(m.Interp) + 1
	}
	dynAt := (str + len(strtab) + 15) / 16 * 16
	dynLen := len(dyn) * m.pick(8, 16)
	loaded := dynAt + dynLen
	sections, body := m.sections(loaded)

	m.b.WriteString("\x7fELF")
	m.b.Write([]byte{byte(m.Class), byte(m.Data), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	entry, shoff := uint64(base+code), uint64(0)
	if m.NoEntry {
		entry = 0
	}
	if len(sections) > 0 {
		shoff = uint64(loaded + len(body))
	}
	m.u16(int(m.Type), int(m.Machine))
	m.u32(1)
	m.word(entry, uint64(ehdr), shoff)
	m.u32(0)
	m.u16(ehdr, phdr, progs, m.pick(40, 64), len(sections), max(len(sections)-1, 0))

	if !m.NoLoad {
		m.prog(elf.PT_LOAD, 5, 0, loaded)
	}
	if m.Interp != "" {
		m.prog(elf.PT_INTERP, 4, interp, len(m.Interp)+1)
	}
	if len(dyn) > 0 {
		m.prog(elf.PT_DYNAMIC, 4, dynAt, dynLen)
	}
	m.b.Write([]byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05}) // xor edi,edi; mov eax,60; syscall
	if m.Interp != "" {
		m.b.WriteString(m.Interp + "\x00")
	}
	m.b.WriteString(strtab)
	m.b.Write(make([]byte, dynAt-m.b.Len()))
	for _, d := range dyn {
		if d.tag == elf.DT_STRTAB {
			d.value = uint64(base + str)
		}
		m.word(uint64(d.tag), d.value)
	}
	m.b.Write(body)
	for _, s := range sections {
		m.u32(s.name, int(s.typ))
		m.word(0, 0, uint64(s.off), uint64(s.size))
		m.u32(s.link, 0)
		m.word(1, uint64(s.entry))
	}
	return m.b.Bytes()
}

func (m *maker) pick(narrow, wide int) int {
	if m.wide {
		return wide
	}
	return narrow
}

func (m *maker) u16(values ...int) {
	for _, v := range values {
		_ = binary.Write(&m.b, m.order, uint16(v))
	}
}

func (m *maker) u32(values ...int) {
	for _, v := range values {
		_ = binary.Write(&m.b, m.order, uint32(v))
	}
}

func (m *maker) word(values ...uint64) {
	for _, v := range values {
		if m.wide {
			_ = binary.Write(&m.b, m.order, v)
		} else {
			_ = binary.Write(&m.b, m.order, uint32(v))
		}
	}
}

func (m *maker) prog(typ elf.ProgType, flags, off, size int) {
	m.u32(int(typ))
	if m.wide {
		m.u32(flags)
	}
	m.word(uint64(off), uint64(base+off), uint64(base+off), uint64(size), uint64(size))
	if !m.wide {
		m.u32(flags)
	}
	m.word(1)
}

type entry struct {
	tag   elf.DynTag
	value uint64
}

// dynamicSection makes the string table and the entries, none for a static file.
func (m *maker) dynamicSection() (string, []entry) {
	strtab := "\x00"
	var dyn []entry
	add := func(tag elf.DynTag, text string) {
		dyn = append(dyn, entry{tag, uint64(len(strtab))})
		strtab += text + "\x00"
	}
	for _, name := range m.Needed {
		add(elf.DT_NEEDED, name)
	}
	for _, s := range []struct {
		tag  elf.DynTag
		text string
	}{{elf.DT_SONAME, m.Soname}, {elf.DT_RPATH, m.Rpath}, {elf.DT_RUNPATH, m.Runpath}} {
		if s.text != "" {
			add(s.tag, s.text)
		}
	}
	if m.Flags1 != 0 {
		dyn = append(dyn, entry{elf.DT_FLAGS_1, uint64(m.Flags1)})
	}
	if len(dyn) == 0 {
		return "", nil
	}
	return strtab, append(dyn, entry{elf.DT_STRTAB, 0}, entry{elf.DT_STRSZ, uint64(len(strtab))}, entry{elf.DT_NULL, 0})
}

type section struct {
	name, off, size, link, entry int
	typ                          elf.SectionType
}

// sections makes the sections that are not loaded, at byte at, and their headers.
func (m *maker) sections(at int) ([]section, []byte) {
	if m.Symbols == 0 && m.Debug == 0 && !m.Go {
		return nil, nil
	}
	names, all := "\x00", []section{{}}
	body := bytes.Repeat([]byte{0}, (at+15)/16*16-at)
	add := func(name string, typ elf.SectionType, size, link, entry int) {
		all = append(all, section{len(names), at + len(body), size, link, entry, typ})
		names += name + "\x00"
		body = append(body, make([]byte, size)...)
	}
	if m.Go {
		add(".go.buildinfo", elf.SHT_PROGBITS, 32, 0, 0)
	}
	if m.Symbols > 0 {
		add(".symtab", elf.SHT_SYMTAB, m.Symbols, len(all)+1, m.pick(16, 24))
		add(".strtab", elf.SHT_STRTAB, m.Symbols, 0, 0)
	}
	if m.Debug > 0 {
		add(".debug_info", elf.SHT_PROGBITS, m.Debug, 0, 0)
	}
	add(".shstrtab", elf.SHT_STRTAB, len(names)+len(".shstrtab\x00"), 0, 0)
	copy(body[all[len(all)-1].off-at:], names)
	return all, body
}
