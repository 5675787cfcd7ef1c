package elftest

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// Somebody else reads what Make writes.
func TestMakeIsReadByOthers(t *testing.T) {
	testneed.Tool(t, "readelf")
	for name, s := range map[string]Spec{
		"zero":          {},
		"32 bits":       {Class: elf.ELFCLASS32, Machine: elf.EM_386, Interp: "/lib/ld-linux.so.2", Needed: []string{"libc.so.6"}},
		"big-endian":    {Data: elf.ELFDATA2MSB, Machine: elf.EM_PPC64, Needed: []string{"a", "b"}},
		"big-endian 32": {Data: elf.ELFDATA2MSB, Class: elf.ELFCLASS32, Machine: elf.EM_PPC, Soname: "x", Symbols: 160},
		"everything": {
			Type: elf.ET_DYN, Interp: "/ld", Soname: "s", Needed: []string{"n1", "n2"}, Rpath: "/r", Runpath: "/rr", Flags1: elf.DF_1_NODEFLIB,
			Symbols: 240, Debug: 100, Go: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := Make(s)
			if _, err := elf.NewFile(bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, b, 0o755); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command("readelf", "-W", "-h", "-l", "-d", "-S", file).CombinedOutput()
			// The table of sections leaves out what is loaded, which readelf notes.
			text := strings.ReplaceAll(string(out), "readelf: Error: no .dynamic section in the dynamic segment", "")
			if err != nil || strings.Contains(text, "Warning") || strings.Contains(text, "Error") {
				t.Errorf("readelf: %v\n%s", err, out)
			}
			want := []string{}
			for _, n := range s.Needed {
				want = append(want, "Shared library: ["+n+"]")
			}
			for prefix, v := range map[string]string{"interpreter: ": s.Interp, "soname: [": s.Soname, "rpath: [": s.Rpath, "runpath: [": s.Runpath} {
				if v != "" {
					want = append(want, prefix+v)
				}
			}
			if s.Symbols > 0 {
				want = append(want, ".symtab")
			}
			for _, w := range want {
				if !strings.Contains(string(out), w) {
					t.Errorf("readelf does not say %q:\n%s", w, out)
				}
			}
		})
	}
}

func TestProgramRuns(t *testing.T) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("SKIP: a program for linux/amd64")
	}
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, Program(), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
