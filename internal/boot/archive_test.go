package boot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/tool"
	"github.com/volant/fledge-action/manifest"
)

// names reads an archive and returns the names of its files.
func names(archive []byte, limit int) ([]string, error) {
	var got []string
	err := records(context.Background(), bufio.NewReader(bytes.NewReader(archive)), limit, func(name string, _ io.Reader) bool {
		got = append(got, name)
		return true
	})
	return got, err
}

func archiveOf(t testing.TB, records ...record) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeArchive(&b, records); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name, content string) record {
	return record{name: name, mode: modeProgram, size: int64(len(content)), body: strings.NewReader(content)}
}

func TestRecordsHandsOutFilesUpToTheLimit(t *testing.T) {
	archive := archiveOf(t, record{name: "bin", mode: modeDir}, file("/bin/../x", "1"), link("l", "x"), file("./y", "22222"))
	for limit, want := range map[int]string{5: "[x y]", 4: "[x y]", 3: "[x]", 1: "[]"} {
		got, err := names(archive, limit)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("limit %d: %q, %v, want %s", limit, got, err, want)
		}
	}
}

func TestRecordsRefusesLongNames(t *testing.T) {
	if _, err := names(archiveOf(t, file(strings.Repeat("n", maxName-1), "")), 9); err != nil {
		t.Error(err)
	}
	_, err := names(archiveOf(t, file(strings.Repeat("n", maxName), "")), 9)
	if err == nil || !strings.Contains(err.Error(), "a name has 4097 bytes, the limit is 4096") {
		t.Errorf("error %v", err)
	}
}

func TestRecordsRefusesDamage(t *testing.T) {
	good := archiveOf(t, file("x", "12345"))
	change := func(at int, with string) []byte {
		b := bytes.Clone(good)
		copy(b[at:], with)
		return b
	}
	for name, archive := range map[string][]byte{
		"magic": change(0, "070707"), "a digit": change(54, "x"), "no name": change(94, "00000000"),
		"a size past the end": change(54, "FFFFFFFF"), "cut header": good[:50], "cut name": good[:111], "cut body": good[:118], "no trailer": good[:120], "empty": nil,
	} {
		if got, err := names(archive, 9); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// What lies past the limit of bytes may be anything.
func TestArchOfALargeArchiveIsUnknown(t *testing.T) {
	b := archiveOf(t, file("big", strings.Repeat("x", 1000)), file("init", string(helloProgram())))
	a := archive{bytes.NewReader(b), int64(len(b)), mediumCpio}
	for limit, want := range map[int64]string{int64(len(b)): "amd64", 1200: ""} {
		got, err := a.arch(t.Context(), &manifest.Manifest{}, limits{records: 9, unpacked: limit})
		if err != nil || got != want {
			t.Errorf("%d bytes: %q, %v, want %q", limit, got, err, want)
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(archiveOf(f, record{name: "bin", mode: modeDir}, file("../init", "#!/bin/sh"), link("l", "x")))
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		got, _ := names(archive, 1000)
		if len(got) > 1000 {
			t.Errorf("%d names", len(got))
		}
		for _, name := range got {
			if path.Clean(name) != name || path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
				t.Errorf("name %q leads out", name)
			}
		}
	})
}

func TestProgramsHaveALimit(t *testing.T) {
	size := int64(len(helloProgram()))
	image := ext4(t, rootOf(t, map[string]string{"bin/kestrel": string(helloProgram())}))
	d := openDisk(t.Context(), bytes.NewReader(image), int64(len(image)), formatExt4)
	path := write(t, filepath.Join(t.TempDir(), "program"), helloProgram())
	for limit, ok := range map[int64]bool{size: true, size - 1: false} {
		s := &starter{disk: d, kernel: &Kernel{Arch: "amd64"}}
		for _, from := range []string{"", path} {
			st := &stage{close: func() {}}
			_, err := s.program(t.Context(), "bin/kestrel", from, agentNames, limit, st)
			st.close()
			if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "the limit is") {
				t.Errorf("limit %d, from %q: %v", limit, from, err)
			}
		}
	}
}

// The program that shows that a guest came up is small enough to be read: an ELF
// file that does what it says.
func TestHelloProgramIsStatic(t *testing.T) {
	e, err := elfHead(bytes.NewReader(helloProgram()))
	if err != nil || e.Arch != "amd64" || e.Interp != "" {
		t.Errorf("%+v, %v", e, err)
	}
	if hostArch != "amd64" || !byDescriptor {
		t.Skip("SKIP: it runs on linux/amd64 only")
	}
	path := write(t, filepath.Join(t.TempDir(), probeName), helloProgram())
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	out := newConsole(consoleOptions{waitFor: probeLine})
	p, err := tool.Start(tool.Command{Argv: []string{path}, Stdout: out})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	select {
	case <-out.matched:
	case <-p.Done():
		t.Errorf("it ended: %v", p.Err())
	}
}
