package shim

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
)

// Where things are. The interpreters know dataAddress and the layout of a step.
const (
	codeOffset  = 0x200
	dataOffset  = 0x400
	pageSize    = 0x10000 // the largest there is
	codeSegment = 0x400000
	codeAddress = codeSegment + codeOffset
	dataAddress = codeSegment + pageSize + dataOffset

	word       = 8 // bytes
	maxArgs    = 5
	headerSize = 2 * word
	stepSize   = 12 * word
	reasonSize = 3 * word
)

// encode returns the data segment: a header, the steps, the reasons, the strings.
func encode(steps []step, number func(call) uint64) []byte {
	stepAddress := func(i int) uint64 {
		return uint64(dataAddress + headerSize + stepSize*min(i, len(steps)-1))
	}
	reasonAddress := uint64(dataAddress + headerSize + stepSize*len(steps))
	texts := pool{
		base: reasonAddress + uint64(reasonSize*(len(reasons)+1)),
		at:   map[string]uint64{},
	}

	words := []uint64{texts.address("/dev/kmsg"), reasonAddress}
	for i, s := range steps {
		words = append(words, number(s.call))
		words = append(words, arguments(s.args, &texts)...)
		exec := uint64(0)
		if s.exec {
			exec = 1
		}
		words = append(words, exec,
			stepAddress(i+1+s.skipOnSuccess), stepAddress(i+1+s.skipOnFailure),
			uint64(s.allow))
		words = append(words, text(s.say, &texts)...)
	}
	for _, r := range reasons {
		words = append(words, uint64(r.errno))
		words = append(words, text(": "+r.text+" (", &texts)...)
	}
	words = append(words, 0)
	words = append(words, text(": "+otherReason+" (", &texts)...)

	var data []byte
	for _, w := range words {
		data = binary.LittleEndian.AppendUint64(data, w)
	}
	return append(data, texts.bytes...)
}

func arguments(args []any, texts *pool) []uint64 {
	var words [maxArgs]uint64
	for i, arg := range args {
		switch arg := arg.(type) {
		case int:
			words[i] = uint64(arg)
		case uint64:
			words[i] = arg
		case string:
			words[i] = texts.address(arg)
		default:
			panic(fmt.Sprintf("argument of type %T", arg))
		}
	}
	return words[:]
}

// text returns the address and the length of a text to print.
func text(s string, texts *pool) []uint64 {
	if s == "" {
		return []uint64{0, 0}
	}
	return []uint64{texts.address(s), uint64(len(s))}
}

// A pool holds each string once, with a NUL after it.
type pool struct {
	base  uint64 // address of bytes
	bytes []byte
	at    map[string]uint64
}

func (p *pool) address(s string) uint64 {
	at, ok := p.at[s]
	if !ok {
		at = p.base + uint64(len(p.bytes))
		p.at[s] = at
		p.bytes = append(append(p.bytes, s...), 0)
	}
	return at
}

// makeELF returns a static executable. The data come after the code in the file, and a
// page apart in memory.
func makeELF(machine elf.Machine, code, data []byte) ([]byte, error) {
	if len(code) == 0 || codeOffset+len(code) > dataOffset {
		return nil, fmt.Errorf("laying out the ELF file: the interpreter has %d bytes, there is room for %d", len(code), dataOffset-codeOffset)
	}
	const names = "\x00.text\x00.rodata\x00.shstrtab\x00"
	nameOf := func(s string) uint32 { return uint32(bytes.Index([]byte(names), []byte(s+"\x00"))) }
	namesOffset := uint64(dataOffset + len(data))
	sectionsOffset := (namesOffset + uint64(len(names)) + word - 1) / word * word

	programs := []elf.Prog64{
		{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Align: pageSize,
			Vaddr: codeSegment, Paddr: codeSegment,
			Filesz: uint64(codeOffset + len(code)), Memsz: uint64(codeOffset + len(code)),
		},
		{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R), Align: pageSize,
			Off: dataOffset, Vaddr: dataAddress, Paddr: dataAddress,
			Filesz: uint64(len(data)), Memsz: uint64(len(data)),
		},
		{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	}
	sections := []elf.Section64{
		{},
		{
			Name: nameOf(".text"), Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC | elf.SHF_EXECINSTR),
			Addr: codeAddress, Off: codeOffset, Size: uint64(len(code)), Addralign: 16,
		},
		{
			Name: nameOf(".rodata"), Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC),
			Addr: dataAddress, Off: dataOffset, Size: uint64(len(data)), Addralign: word,
		},
		{
			Name: nameOf(".shstrtab"), Type: uint32(elf.SHT_STRTAB),
			Off: namesOffset, Size: uint64(len(names)), Addralign: 1,
		},
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{
			0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT),
		},
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: codeAddress, Ehsize: 64,
		Phoff: 64, Phentsize: 56, Phnum: uint16(len(programs)),
		Shoff: sectionsOffset, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}

	var file bytes.Buffer
	put := func(offset uint64, part any) error {
		file.Write(make([]byte, offset-uint64(file.Len())))
		return binary.Write(&file, binary.LittleEndian, part)
	}
	for _, part := range []struct {
		offset uint64
		what   any
	}{
		{0, header},
		{header.Phoff, programs},
		{codeOffset, code},
		{dataOffset, data},
		{namesOffset, []byte(names)},
		{sectionsOffset, sections},
	} {
		if err := put(part.offset, part.what); err != nil {
			return nil, fmt.Errorf("laying out the ELF file: %w", err)
		}
	}
	return file.Bytes(), nil
}
