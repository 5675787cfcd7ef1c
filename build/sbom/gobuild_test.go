package sbom

import (
	"debug/elf"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
)

// smallProgram is the least that has Go's build information: a header, a segment and a
// section with the version and the text of the modules.
func smallProgram(version, modules string) []byte {
	if modules != "" { // in a frame of two times 16 bytes
		modules = strings.Repeat("<", 16) + modules + strings.Repeat(">", 16)
	}
	blob := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for _, s := range []string{version, modules} {
		blob = append(binary.AppendUvarint(blob, uint64(len(s))), s...)
	}
	blob = append(blob, make([]byte, 16)...) // as much as is read for a length
	const at, addr = 128, 0x10000
	names := "\x00.go.buildinfo\x00.shstrtab\x00"
	namesAt := at + len(blob)
	sectionsAt := (namesAt + len(names) + 7) / 8 * 8
	b, _ := binary.Append(nil, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Phoff: 64, Shoff: uint64(sectionsAt), Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	})
	b, _ = binary.Append(b, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: 6, Off: at, Vaddr: addr, Filesz: uint64(len(blob)), Memsz: uint64(len(blob)), Align: 16,
	})
	b = append(append(append(b, make([]byte, at-len(b))...), blob...), names...)
	b = append(b, make([]byte, sectionsAt-len(b))...)
	b, _ = binary.Append(b, binary.LittleEndian, []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Flags: uint64(elf.SHF_ALLOC), Addr: addr, Off: at, Size: uint64(len(blob))},
		{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: uint64(namesAt), Size: uint64(len(names))},
	})
	return b
}

const modules = "path\texample.com/app/cmd/app\n" +
	"mod\texample.com/App\t(devel)\t\n" +
	"dep\texample.com/lib\tv1.2.3\th1:abc=\n" +
	"dep\texample.com/old\tv1.0.0\n" +
	"=>\texample.com/fork\tv1.0.1\th1:def=\n" +
	"dep\texample.com/local\tv0.0.0\n" +
	"=>\t../local\t\t\n" +
	"build\tGOOS=linux\n"

func modulesOf(t *testing.T, program []byte) *Document {
	t.Helper()
	big := append(program, make([]byte, minGo)...)
	return scan(t, Input{Tree: newTree(t, map[string]string{"bin/app": string(big)}), Created: created})
}

func TestModulesAreThoseThatWereCompiled(t *testing.T) {
	for _, test := range []struct{ name, version, modules, want string }{
		{"of modules", "go1.26.8 X:nodwarf5", modules, "pkg:golang/example.com/app >example.com/fork >example.com/lib >example.com/local >stdlib\n" +
			"pkg:golang/example.com/fork@v1.0.1\npkg:golang/example.com/lib@v1.2.3\npkg:golang/example.com/local\npkg:golang/stdlib@1.26.8\n"},
		{"without modules", "go1.20", "", "pkg:golang/stdlib@1.20\n"},
	} {
		d := modulesOf(t, smallProgram(test.version, test.modules))
		if diff := cmp.Diff(test.want, summary(d)); diff != "" || len(d.Warnings) > 0 {
			t.Errorf("%s: %s%q", test.name, diff, d.Warnings)
		}
	}
}

func TestModulesThatAreTooMany(t *testing.T) {
	for n, want := range map[int]int{maxModules: 0, maxModules + 1: 1} {
		s := &scanner{ctx: t.Context(), found: map[string]*Package{}}
		if err := s.program(tree.Bytes(smallProgram("go1", "path\tx\n"+strings.Repeat("dep\ta\tv1\n", n))), "/x"); err != nil {
			t.Fatal(err)
		}
		if len(s.warnings) != want {
			t.Errorf("%d modules: %q", n, s.warnings)
		}
	}
}

// FuzzProgram wants neither a panic nor an error, whatever stands in a program.
func FuzzProgram(f *testing.F) {
	f.Add(smallProgram("go1.26.8", modules))
	f.Add(smallProgram("go1.20", ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &scanner{ctx: t.Context(), found: map[string]*Package{}}
		if err := s.program(tree.Bytes(b), "/x"); err != nil {
			t.Error(err)
		}
		if len(s.found) > len(b)/4+2 {
			t.Errorf("%d packages from %d bytes", len(s.found), len(b))
		}
	})
}
