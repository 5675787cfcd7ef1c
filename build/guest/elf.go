package guest

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"

	"github.com/volant/fledge-action/build/tree"
)

// machines are the architectures that kestrel can be built for.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// headSize is how much of the agent is looked at, in bytes. The program headers
// of an executable follow its first header.
const headSize = 64 << 10

// checkELF makes sure that content is an executable for arch, and returns the
// program interpreter it asks for, "" if it is static.
func checkELF(content tree.Content, arch string) (interp string, err error) {
	f, err := content.Open()
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", err
	}
	return parseELF(head[:n], arch)
}

func parseELF(head []byte, arch string) (interp string, err error) {
	f, err := openELF(head, arch)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if f.Machine != machines[arch] {
		return "", fmt.Errorf("it is for %s, the platform is %s", machineName(f.Machine), arch)
	}
	return interpreter(f)
}

// ELF is what the headers of an executable say.
type ELF struct {
	Arch   string // in Go's words ("amd64") where it is one that kestrel can run on, else ELF's ("EM_RISCV")
	Interp string // the program interpreter it asks for, "" if it is static
}

// HeadSize is how much of a file ReadELF takes, in bytes.
const HeadSize = headSize

// ReadELF reads the headers of an executable from the first HeadSize bytes of its
// file, or all of it if it is shorter.
func ReadELF(head []byte) (ELF, error) {
	f, err := openELF(head, "an agent")
	if err != nil {
		return ELF{}, err
	}
	defer f.Close()
	interp, err := interpreter(f)
	return ELF{Arch: machineName(f.Machine), Interp: interp}, err
}

// openELF parses the head of an executable; who needs it stands in messages.
func openELF(head []byte, who string) (*elf.File, error) {
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return nil, fmt.Errorf("it is no ELF executable; it begins with %q", head[:min(len(head), 32)])
	}
	if len(head) < 64 || elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("it is no 64-bit little-endian ELF executable, as %s needs", who)
	}
	// The section table lies at the end of the file and is not needed: without
	// its offset and count (e_shoff; e_shentsize, e_shnum, e_shstrndx) the head
	// is a complete file for debug/elf.
	head = bytes.Clone(head)
	clear(head[0x28:0x30])
	clear(head[0x3a:0x40])
	f, err := elf.NewFile(bytes.NewReader(head))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading its ELF headers: %w", err)
	case f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN:
		err = fmt.Errorf("it is no executable but of ELF type %v", f.Type)
	case f.Entry == 0:
		err = errors.New("it has no entry point: it is a library, not an executable")
	default:
		return f, nil
	}
	return nil, errors.Join(err, f.Close())
}

// interpreter reads PT_INTERP, and makes sure that something is loaded at all.
func interpreter(f *elf.File) (string, error) {
	loads, interp := 0, ""
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_LOAD:
			loads++
		case elf.PT_INTERP:
			b, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			if err != nil || len(b) == 0 {
				return "", errors.New("reading its ELF headers: the program interpreter is not where they say")
			}
			interp = string(bytes.TrimRight(b, "\x00"))
		}
	}
	if loads == 0 {
		return "", errors.New("it has nothing to load: the ELF program headers are missing")
	}
	return fmt.Sprintf("%.255s", interp), nil
}

// machineName is an architecture in Go's words where it has one.
func machineName(m elf.Machine) string {
	for name, machine := range machines {
		if machine == m {
			return name
		}
	}
	return m.String()
}
