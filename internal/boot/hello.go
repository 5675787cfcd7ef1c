package boot

import (
	"debug/elf"
	"encoding/binary"
)

const (
	probeName = "fledge-probe"
	probeLine = "fledge: the processor works"
)

// helloProgram is a static amd64 program of a few bytes that writes probeLine to
// standard output and waits. It is what a guest runs to show that the kernel came
// up.
func helloProgram() []byte {
	const base, headers = 0x400000, 64 + 56
	text := probeLine + "\n"
	code := []byte{
		0xb8, 1, 0, 0, 0, // mov eax, 1 (write)
		0xbf, 1, 0, 0, 0, // mov edi, 1
		0xbe, 0, 0, 0, 0, // mov esi, the text's address, filled in below
		0xba, byte(len(text)), 0, 0, 0, // mov edx, its length
		0x0f, 0x05, // syscall
		0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
		0x0f, 0x05, // syscall
		0xeb, 0xf7, // jmp back to the mov before pause
	}
	binary.LittleEndian.PutUint32(code[11:], uint32(base+headers+len(code)))
	size := uint64(headers + len(code) + len(text))
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Entry: base + headers,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64,
	}
	copy(h.Ident[:], []byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)})
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 4096,
	}
	// Both structs have a fixed size: Append cannot fail.
	out, _ := binary.Append(nil, binary.LittleEndian, h)
	out, _ = binary.Append(out, binary.LittleEndian, p)
	return append(append(out, code...), text...)
}
