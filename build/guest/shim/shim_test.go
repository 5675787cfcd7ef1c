package shim

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const agent = "/bin/kestrel"

// TestBytesAreThoseOfTheGoldenDigests is what makes a change of the bytes a reviewed one.
func TestBytesAreThoseOfTheGoldenDigests(t *testing.T) {
	var got string
	for _, arch := range arches {
		b := binaryOf(t, arch, agent)
		t.Logf("%s: %d bytes", arch, len(b))
		got += fmt.Sprintf("%x  init-%s %s\n", sha256.Sum256(b), arch, agent)
	}
	file := filepath.Join("testdata", "golden.sha256")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || got != string(want) {
		t.Errorf("digests are\n%swant\n%s%v", got, want, err)
	}
}

func TestBinaryIsAStaticELF(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b := binaryOf(t, arch, agent)
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != machine || f.Type != elf.ET_EXEC || f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB || f.OSABI != elf.ELFOSABI_NONE {
			t.Errorf("%s: header %+v", arch, f.FileHeader)
		}
		var flags []elf.ProgFlag
		var end uint64
		entered := false
		for _, p := range f.Progs {
			flags = append(flags, p.Flags)
			switch p.Type {
			case elf.PT_GNU_STACK:
				continue
			case elf.PT_LOAD:
			default:
				t.Errorf("%s: program header %v", arch, p.Type)
			}
			if p.Align != 65536 || p.Off%p.Align != p.Vaddr%p.Align {
				t.Errorf("%s: segment at %#x, offset %#x, alignment %#x", arch, p.Vaddr, p.Off, p.Align)
			}
			if p.Vaddr/p.Align*p.Align < end {
				t.Errorf("%s: segment at %#x shares a page of 64 KiB with the one before", arch, p.Vaddr)
			}
			end = p.Vaddr + p.Memsz
			if p.Filesz != p.Memsz || p.Off+p.Filesz > uint64(len(b)) {
				t.Errorf("%s: segment %+v of a file of %d bytes", arch, p.ProgHeader, len(b))
			}
			if p.Flags&elf.PF_X != 0 && f.Entry >= p.Vaddr && f.Entry < p.Vaddr+p.Memsz {
				entered = true
			}
		}
		if want := []elf.ProgFlag{elf.PF_R | elf.PF_X, elf.PF_R, elf.PF_R | elf.PF_W}; !slices.Equal(flags, want) {
			t.Errorf("%s: segments are %v, want %v", arch, flags, want)
		}
		if !entered {
			t.Errorf("%s: the entry %#x lies in no executable segment", arch, f.Entry)
		}
		code, err := f.Section(".text").Data()
		if listed, _ := parseListing(machines[arch].listing); err != nil || !bytes.Equal(code, listed) {
			t.Errorf("%s: .text is %x, %v, want %x", arch, code, err, listed)
		}
	}
}

// TestBinutilsReadTheFile has another reader look at the file, which warns of what
// does not fit together.
func TestBinutilsReadTheFile(t *testing.T) {
	for _, arch := range arches {
		file := filepath.Join(t.TempDir(), "init")
		if err := os.WriteFile(file, binaryOf(t, arch, agent), 0o600); err != nil {
			t.Fatal(err)
		}
		out := run(t, "readelf", "-a", "-W", "--lint", file)
		for _, bad := range []string{"Warning", "warning", "Error", "error:"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: readelf says\n%s", arch, out)
			}
		}
		for _, want := range []string{
			`Entry point address: +0x400200`, `LOAD +0x000000 0x0+400000 .* R E 0x10000`,
			`LOAD +0x000400 0x0+410400 .* R   0x10000`, `GNU_STACK .* RW `, `There is no dynamic section`,
		} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s: readelf has no line with %s:\n%s", arch, want, out)
			}
		}
		objdump := run(t, append(binutils[arch].objdump, "-d", "-w", file)...)
		if got, want := mnemonics(instructions(t, objdump)), mnemonics(machines[arch].listing); !slices.Equal(got, want) {
			t.Errorf("%s: objdump finds %q, want %q", arch, got, want)
		}
	}
}

func TestNextProgramIsRefused(t *testing.T) {
	longest := "/" + strings.Repeat("n", MaxPath-1)
	tests := []struct{ arch, next, want string }{
		{"riscv64", agent, `making the init shim: no architecture "riscv64"; there are amd64 and arm64`},
		{"amd64", "", `making the init shim: next program "": it is not absolute`},
		{"amd64", "bin/kestrel", `making the init shim: next program "bin/kestrel": it is not absolute`},
		{"amd64", "/a\x00b", `making the init shim: next program "/a\x00b": it has a NUL byte`},
		{"arm64", longest + "n", `: it has 4096 bytes, the limit is 4095`},
		{"amd64", "/init", `making the init shim: next program "/init": it is the shim itself, which is /init: the boot would never end`},
		{"amd64", "/bin/..//init/", `it is the shim itself`},
		{"amd64", longest, ""},
		{"arm64", longest, ""},
		{"amd64", "/sbin/init", ""},
	}
	for _, test := range tests {
		b, err := Binary(test.arch, test.next)
		if test.want == "" && (err != nil || len(b) == 0) || test.want != "" && (err == nil || b != nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s, %.40q: %d bytes, error %v, want %q", test.arch, test.next, len(b), err, test.want)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("the error for %.40q has %d bytes", test.next, len(err.Error()))
		}
	}
}

func TestLargestFileIsSmall(t *testing.T) {
	for _, arch := range arches {
		// A byte that is no UTF-8 takes four in a message.
		if n := len(binaryOf(t, arch, "/"+strings.Repeat("\xff", MaxPath-1))); n > 32<<10 {
			t.Errorf("%s: %d bytes", arch, n)
		}
		if n := len(binaryOf(t, arch, agent)); n > 8<<10 {
			t.Errorf("%s: %d bytes for %s", arch, n, agent)
		}
	}
}

// TestEveryPathEndsInTheNextProgramOrTheExit walks the steps as they are encoded, both
// ways from each.
func TestEveryPathEndsInTheNextProgramOrTheExit(t *testing.T) {
	steps := program(agent)
	data := encode(steps, machines["amd64"].number)
	index := func(step, field int) int {
		address := binary.LittleEndian.Uint64(data[headerSize+stepSize*step+word*field:])
		at := address - dataAddress - headerSize
		if at%stepSize != 0 || at/stepSize >= uint64(len(steps)) {
			t.Fatalf("step %d goes on at %#x, where no step is", step, address)
		}
		return int(at / stepSize)
	}
	last := len(steps) - 1
	seen := make([]bool, len(steps))
	var walk func(i int)
	walk = func(i int) {
		if seen[i] {
			return
		}
		seen[i] = true
		for _, to := range []int{index(i, 7), index(i, 8)} { // after success, after failure
			if to <= i && i != last {
				t.Errorf("step %d goes back to %d", i, to)
			}
			walk(to)
		}
	}
	walk(0)
	if i := slices.Index(seen, false); i >= 0 {
		t.Errorf("no way leads to step %d", i)
	}
	if steps[last].call != sysExitGroup {
		t.Error("the last step does not end the process")
	}
}

// TestNothingWaitsBeforeTheNextProgram lists all system calls on the way to it.
func TestNothingWaitsBeforeTheNextProgram(t *testing.T) {
	quick := []call{sysClose, sysOpenat, sysMkdirat, sysMknodat, sysDup3, sysMount}
	for i, s := range program(agent) {
		if s.call == sysExecve {
			return
		}
		if !slices.Contains(quick, s.call) {
			t.Errorf("step %d is the system call %d of amd64", i, s.call.amd64)
		}
	}
	t.Error("no step executes the next program")
}

func TestBinaryDependsOnNothingElse(t *testing.T) {
	for _, arch := range arches {
		first := binaryOf(t, arch, agent)
		for range 20 { // maps have another order each time
			if !bytes.Equal(first, binaryOf(t, arch, agent)) {
				t.Fatalf("%s: the second file differs", arch)
			}
		}
		if other := binaryOf(t, arch, agent+"2"); bytes.Equal(first, other) {
			t.Errorf("%s: another program gives the same file", arch)
		}
	}
}

func binaryOf(t *testing.T, arch, next string) []byte {
	t.Helper()
	b, err := Binary(arch, next)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
