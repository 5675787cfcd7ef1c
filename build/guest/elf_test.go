package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/tree"
)

// elfSpec describes an executable for makeELF. The zero value is a static amd64
// one without a section table.
type elfSpec struct {
	machine elf.Machine
	typ     elf.Type
	class   elf.Class
	data    elf.Data
	noEntry bool
	noLoad  bool
	interp  string
	phoff   uint64 // of the program headers; 0 means after the header
	shoff   uint64 // of the section table, of 40 sections
}

// makeELF writes an ELF header and program headers by the specification
// (https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html).
func makeELF(s elfSpec) []byte {
	or := func(v, def uint16) uint16 {
		if v == 0 {
			return def
		}
		return v
	}
	var b bytes.Buffer
	class, data := s.class, s.data
	if class == 0 {
		class = elf.ELFCLASS64
	}
	if data == 0 {
		data = elf.ELFDATA2LSB
	}
	b.WriteString("\x7fELF")
	b.Write([]byte{byte(class), byte(data), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	entry := uint64(0x401000)
	if s.noEntry {
		entry = 0
	}
	phoff := s.phoff
	if phoff == 0 {
		phoff = 64
	}
	phnum := uint16(0)
	if !s.noLoad {
		phnum++
	}
	if s.interp != "" {
		phnum++
	}
	shnum := uint16(0)
	if s.shoff != 0 {
		shnum = 40
	}
	put(or(uint16(s.typ), uint16(elf.ET_EXEC)), or(uint16(s.machine), uint16(elf.EM_X86_64)), uint32(1),
		entry, phoff, s.shoff, uint32(0), uint16(64), uint16(56), phnum, uint16(64), shnum, shnum/2)
	if s.phoff > 64 {
		b.Write(make([]byte, s.phoff-64))
	}
	if !s.noLoad {
		put(uint32(elf.PT_LOAD), uint32(5), uint64(0), uint64(0x400000), uint64(0x400000), uint64(0x1000), uint64(0x1000), uint64(0x1000))
	}
	if s.interp != "" {
		put(uint32(elf.PT_INTERP), uint32(4), uint64(1024), uint64(0), uint64(0), uint64(len(s.interp)+1), uint64(len(s.interp)+1), uint64(1))
		b.Write(make([]byte, 1024-b.Len()))
		b.WriteString(s.interp + "\x00")
	}
	b.Write(make([]byte, 100))
	return b.Bytes()
}

type blob []byte

func (b blob) Size() int64                  { return int64(len(b)) }
func (b blob) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }

var _ tree.Content = blob(nil)

func TestCheckELF(t *testing.T) {
	tests := []struct {
		name   string
		bytes  []byte
		arch   string
		interp string
		err    string
	}{
		{name: "static executable", bytes: makeELF(elfSpec{}), arch: "amd64"},
		{name: "for arm64", bytes: makeELF(elfSpec{machine: elf.EM_AARCH64}), arch: "arm64"},
		{name: "position independent", bytes: makeELF(elfSpec{typ: elf.ET_DYN}), arch: "amd64"},
		{name: "dynamic", bytes: makeELF(elfSpec{interp: "/lib64/ld-linux-x86-64.so.2"}), arch: "amd64", interp: "/lib64/ld-linux-x86-64.so.2"},
		{name: "section table beyond what is read", bytes: makeELF(elfSpec{shoff: 1 << 40}), arch: "amd64"},
		{name: "longer than what is read", bytes: append(makeELF(elfSpec{}), make([]byte, 2*headSize)...), arch: "amd64"},
		{name: "program headers at the end of what is read", bytes: makeELF(elfSpec{phoff: headSize - 56}), arch: "amd64"},
		{name: "program headers past what is read", bytes: makeELF(elfSpec{phoff: headSize - 55}), arch: "amd64", err: "ELF headers"},
		{name: "error page", bytes: []byte("<!DOCTYPE html><title>404</title>"), arch: "amd64", err: `no ELF executable; it begins with "<!DOCTYPE html>`},
		{name: "script", bytes: []byte("#!/bin/sh\n"), arch: "amd64", err: `begins with "#!/bin/sh`},
		{name: "empty", arch: "amd64", err: `begins with ""`},
		{name: "only the magic", bytes: []byte("\x7fELF"), arch: "amd64", err: "no 64-bit"},
		{name: "cut short", bytes: makeELF(elfSpec{})[:100], arch: "amd64", err: "ELF headers"},
		{name: "32 bits", bytes: makeELF(elfSpec{class: elf.ELFCLASS32}), arch: "amd64", err: "no 64-bit"},
		{name: "big-endian", bytes: makeELF(elfSpec{data: elf.ELFDATA2MSB}), arch: "amd64", err: "no 64-bit little-endian"},
		{name: "other machine", bytes: makeELF(elfSpec{machine: elf.EM_AARCH64}), arch: "amd64", err: "it is for arm64, the platform is amd64"},
		{name: "unknown machine", bytes: makeELF(elfSpec{machine: elf.EM_RISCV}), arch: "arm64", err: "it is for EM_RISCV, the platform is arm64"},
		{name: "object file", bytes: makeELF(elfSpec{typ: elf.ET_REL}), arch: "amd64", err: "ET_REL"},
		{name: "library", bytes: makeELF(elfSpec{typ: elf.ET_DYN, noEntry: true}), arch: "amd64", err: "library"},
		{name: "nothing to load", bytes: makeELF(elfSpec{noLoad: true}), arch: "amd64", err: "nothing to load"},
		{name: "interpreter elsewhere", bytes: makeELF(elfSpec{interp: "/ld"})[:1024], arch: "amd64", err: "interpreter"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			interp, err := checkELF(blob(tt.bytes), tt.arch)
			switch {
			case tt.err == "" && (err != nil || interp != tt.interp):
				t.Errorf("interpreter %q, %v, want %q", interp, err, tt.interp)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}

// The test binary is an executable that somebody else made.
func TestCheckELFOnARealExecutable(t *testing.T) {
	name, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		t.Skipf("SKIP: the test binary is no ELF file: %v", err)
	}
	arch := machineName(f.Machine)
	if _, ok := machines[arch]; !ok {
		t.Skipf("SKIP: kestrel cannot be built for %s", arch)
	}
	if _, err := checkELF(blob(b), arch); err != nil {
		t.Error(err)
	}
}

func FuzzELF(f *testing.F) {
	f.Add(makeELF(elfSpec{}))
	f.Add(makeELF(elfSpec{interp: "/ld"}))
	f.Add(makeELF(elfSpec{shoff: 1 << 40}))
	f.Fuzz(func(t *testing.T, b []byte) {
		interp, err := parseELF(b, "amd64")
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, []byte("\x7fELF")) || b[18] != 62 || b[19] != 0 {
			t.Errorf("accepted what is no ELF file for amd64: %q", b[:min(len(b), 64)])
		}
		if len(interp) > 255 {
			t.Errorf("interpreter of %d bytes", len(interp))
		}
	})
}

func TestReadELFTellsWhatAnExecutableIs(t *testing.T) {
	static := makeELF(elfSpec{})
	foreign := bytes.Clone(static)
	foreign[18] = 243
	for _, test := range []struct {
		head []byte
		want ELF
		ok   bool
	}{
		{static, ELF{Arch: "amd64"}, true},
		{foreign, ELF{Arch: "EM_RISCV"}, true},
		{[]byte("#!/bin/sh\n"), ELF{}, false},
		{nil, ELF{}, false},
	} {
		if got, err := ReadELF(test.head); got != test.want || (err == nil) != test.ok {
			t.Errorf("%.20q: %+v, %v", test.head, got, err)
		}
	}
}
