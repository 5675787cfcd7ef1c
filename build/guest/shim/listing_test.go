package shim

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

var update = flag.Bool("update", false, "write the interpreters' listings and the golden digests anew")

// binutils are the programs for each architecture, and how to make the
// disassembler take raw bytes.
var binutils = map[string]struct {
	as, objdump []string
	raw         []string
}{
	"amd64": {[]string{"x86_64-linux-gnu-as", "--64"}, []string{"x86_64-linux-gnu-objdump"}, []string{"-m", "i386:x86-64"}},
	"arm64": {[]string{"aarch64-linux-gnu-as"}, []string{"aarch64-linux-gnu-objdump"}, []string{"-m", "aarch64"}},
}

var arches = []string{"amd64", "arm64"}

// TestListingIsWhatTheSourceAssemblesTo proves that the bytes in the tree are those
// of the source in the tree.
func TestListingIsWhatTheSourceAssemblesTo(t *testing.T) {
	for _, arch := range arches {
		t.Run(arch, func(t *testing.T) {
			object := assemble(t, arch)
			want := textOf(t, object)
			file := filepath.Join("asm", arch+".lst")
			if fresh := makeListing(t, arch, object); *update && fresh != machines[arch].listing {
				if err := os.WriteFile(file, []byte(fresh), 0o644); err != nil {
					t.Fatal(err)
				}
				t.Fatalf("%s is new; run again, as this run still has the old one", file)
			}
			got, err := parseListing(machines[arch].listing)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s has other bytes than %s.s assembles to; run go test ./build/guest/shim -update and review the difference\nlisting:   %x\nassembled: %x", file, arch, got, want)
			}
		})
	}
}

// TestListingSaysWhatItsBytesMean disassembles the bytes as they are embedded. Only
// the mnemonics are compared, as binutils' versions write operands differently.
func TestListingSaysWhatItsBytesMean(t *testing.T) {
	for _, arch := range arches {
		t.Run(arch, func(t *testing.T) {
			code, err := parseListing(machines[arch].listing)
			if err != nil {
				t.Fatal(err)
			}
			raw := filepath.Join(t.TempDir(), "code")
			if err := os.WriteFile(raw, code, 0o600); err != nil {
				t.Fatal(err)
			}
			tools := binutils[arch]
			want := mnemonics(instructions(t, run(t, slices.Concat(tools.objdump, []string{"-D", "-b", "binary"}, tools.raw, []string{raw})...)))
			got := mnemonics(machines[arch].listing)
			if !slices.Equal(got, want) {
				t.Errorf("the listing says\n%q, its bytes are\n%q", got, want)
			}
		})
	}
}

func TestInterpretersHaveNoRelocations(t *testing.T) {
	for _, arch := range arches {
		f, err := elf.Open(assemble(t, arch))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, s := range f.Sections {
			if s.Type == elf.SHT_RELA || s.Type == elf.SHT_REL || s.Type == elf.SHT_PROGBITS && s.Name != ".text" && s.Size > 0 {
				t.Errorf("%s: section %s has %d bytes, which the listing leaves out", arch, s.Name, s.Size)
			}
		}
	}
}

func TestParseListingRefuses(t *testing.T) {
	for _, listing := range []string{
		"1\t90\tnop",
		"0\t90\tnop\n2\t90\tnop",
		"0\t9\tnop",
		"0\t\tnop",
		"0\txx\tnop",
		"nop",
	} {
		if code, err := parseListing(listing); err == nil {
			t.Errorf("%q is read as %x", listing, code)
		}
	}
	code, err := parseListing("# comment\n\nlabel:\n   0\t48 90\tnop\n   2\t90\tnop\n")
	if want := []byte{0x48, 0x90, 0x90}; err != nil || !bytes.Equal(code, want) {
		t.Errorf("got %x, %v, want %x", code, err, want)
	}
}

// assemble returns the path of the object file of an architecture's interpreter.
func assemble(t *testing.T, arch string) string {
	t.Helper()
	object := filepath.Join(t.TempDir(), "interpreter.o")
	run(t, slices.Concat(binutils[arch].as, []string{"-o", object, filepath.Join("asm", arch+".s")})...)
	return object
}

func textOf(t *testing.T, object string) []byte {
	t.Helper()
	f, err := elf.Open(object)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// run needs the program and returns what it prints.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	testneed.Tool(t, argv[0])
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func makeListing(t *testing.T, arch, object string) string {
	tools := binutils[arch]
	return "# " + arch + ".s, assembled: offset, bytes, instruction; all numbers hexadecimal.\n" +
		"# Made by go test ./build/guest/shim -update, checked by the same without -update.\n" +
		instructions(t, run(t, slices.Concat(tools.objdump, []string{"-d", "-w", object})...))
}

var (
	disassembled = regexp.MustCompile(`^ *([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$`)
	label        = regexp.MustCompile(`^[0-9a-f]+ <(\w+)>:$`)
)

// instructions turns objdump's output into lines of a listing.
func instructions(t *testing.T, objdump string) string {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(objdump) {
		line = strings.TrimRight(line, "\n")
		if m := label.FindStringSubmatch(line); m != nil {
			fmt.Fprintf(&out, "%s:\n", m[1])
		}
		m := disassembled.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(m[2], " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if len(strings.Fields(m[2])[0]) == 8 { // an arm64 instruction is shown as a number
			slices.Reverse(b)
		}
		text, _, _ := strings.Cut(m[3], "//")
		fmt.Fprintf(&out, "%4s\t% x\t%s\n", m[1], b, strings.Join(strings.Fields(text), " "))
	}
	return out.String()
}

func mnemonics(listing string) []string {
	var all []string
	for line := range strings.Lines(listing) {
		if f := strings.Split(line, "\t"); len(f) == 3 && !strings.HasPrefix(line, "#") {
			all = append(all, strings.Fields(f[2])[0])
		}
	}
	return all
}
