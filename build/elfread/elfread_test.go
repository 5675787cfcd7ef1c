package elfread

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/testneed"
)

// blob is a content with random access, stream is one without.
type blob []byte

func (b blob) Size() int64                  { return int64(len(b)) }
func (b blob) Open() (io.ReadCloser, error) { return atReader{bytes.NewReader(b)}, nil }

type atReader struct{ *bytes.Reader }

func (atReader) Close() error { return nil }

type stream []byte

func (s stream) Size() int64 { return int64(len(s)) }
func (s stream) Open() (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(bytes.NewReader(s))), nil
}

var full = elftest.Spec{
	Type: elf.ET_DYN, Interp: "/lib64/ld-linux-x86-64.so.2", Soname: "me.so", Needed: []string{"libc.so.6", "libm.so.6"},
	Runpath: "$ORIGIN/../lib", Flags1: elf.DF_1_NODEFLIB | elf.DF_1_PIE, Symbols: 240, Debug: 9000,
}

func TestRead(t *testing.T) {
	with := func(change func(*elftest.Spec)) elftest.Spec {
		s := full
		change(&s)
		return s
	}
	for name, s := range map[string]elftest.Spec{
		"static":        {},
		"full":          full,
		"rpath":         with(func(s *elftest.Spec) { s.Rpath, s.Runpath = "/a:/b", "" }),
		"rpath, hidden": with(func(s *elftest.Spec) { s.Rpath = "/a:/b" }),
		"32 bits":       with(func(s *elftest.Spec) { s.Class, s.Machine = elf.ELFCLASS32, elf.EM_386 }),
		"big-endian":    with(func(s *elftest.Spec) { s.Data, s.Machine = elf.ELFDATA2MSB, elf.EM_S390 }),
		"long names": with(func(s *elftest.Spec) {
			s.Soname, s.Runpath = strings.Repeat("n", MaxString), strings.Repeat("p", MaxPath)
		}),
		"many": with(func(s *elftest.Spec) { s.Needed = slices.Repeat([]string{"l"}, MaxNeeded) }),
	} {
		t.Run(name, func(t *testing.T) {
			b := elftest.Make(s)
			for _, f := range []func() (*File, error){
				func() (*File, error) { return Read(blob(b)) },
				func() (*File, error) { return Read(stream(b)) },
			} {
				got, err := f()
				if err != nil {
					t.Fatal(err)
				}
				rpath := s.Rpath
				if s.Runpath != "" {
					rpath = ""
				}
				if got.Interp != s.Interp || got.Soname != s.Soname || !slices.Equal(got.Needed, s.Needed) || got.Rpath != rpath || got.Runpath != s.Runpath ||
					got.HasRunpath != (s.Runpath != "") || got.NoDefaultLib != (s.Flags1 != 0) || got.Loads != 1 || got.Entry == 0 {
					t.Errorf("got %+v, want %+v", got, s)
				}
				if s.Machine != 0 && got.Machine != s.Machine {
					t.Errorf("machine %v, want %v", got.Machine, s.Machine)
				}
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	good := elftest.Make(full)
	edit := func(at int, v any) []byte {
		b := bytes.Clone(good)
		var w bytes.Buffer
		_ = binary.Write(&w, binary.LittleEndian, v)
		copy(b[at:], w.Bytes())
		return b
	}
	interp, dynamic := 64+56, 64+2*56
	spec := func(change func(*elftest.Spec)) []byte {
		s := full
		change(&s)
		return elftest.Make(s)
	}
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"empty":                           {nil, "no ELF file"},
		"a script":                        {[]byte("#!/bin/sh\n"), "no ELF file"},
		"only the magic":                  {good[:4], "ELF header: it lies past the end"},
		"half a header":                   {good[:40], "ELF header: it lies past the end"},
		"class 3":                         {edit(4, uint8(3)), "class 3"},
		"byte order 0":                    {edit(5, uint8(0)), "byte order 0"},
		"program headers cut off":         {good[:100], "program headers: it lies past"},
		"program headers far away":        {edit(32, uint64(1<<63)), "program headers: it lies past"},
		"program headers at the last":     {edit(32, ^uint64(0)), "program headers: it lies past"},
		"program headers of another size": {edit(54, uint16(55)), "entries of 55 bytes"},
		"too many program headers":        {edit(56, uint16(0xffff)), "the limit is 65536"},
		"interpreter cut off":             {good[:64+3*56+12], "program interpreter: it lies past"},
		"interpreter too long":            {edit(interp+32, uint64(MaxString+2)), "a name of 4097 bytes"},
		"interpreter too short":           {edit(interp+32, uint64(1)), "a name of 1 bytes"},
		"interpreter without an end":      {edit(interp+32, uint64(8)), "does not end with a NUL"},
		"interpreter empty":               {spec(func(s *elftest.Spec) { s.Interp = "\x00\x00" }), "its name is empty"},
		"dynamic section far away":        {edit(dynamic+8, uint64(1<<40)), "dynamic section: it lies past"},
		"dynamic section endless":         {edit(dynamic+32, ^uint64(0)), "dynamic section: it lies past"},
		"string table elsewhere":          {edit(64+16, uint64(1<<50)), "is not in the file"},
		"one needed library too many":     {spec(func(s *elftest.Spec) { s.Needed = make([]string, MaxNeeded+1) }), "1025 needed libraries"},
		"a name one byte too long":        {spec(func(s *elftest.Spec) { s.Needed = []string{strings.Repeat("n", MaxString+1)} }), "no end within 4096 bytes"},
		"a path one byte too long":        {spec(func(s *elftest.Spec) { s.Runpath = strings.Repeat("n", MaxPath+1) }), "no end within 65537 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, f := range []func() (*File, error){
				func() (*File, error) { return Read(blob(tt.b)) },
				func() (*File, error) { return Read(stream(tt.b)) },
			} {
				got, err := f()
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("got %+v, %v, want %q", got, err, tt.want)
				}
				var format *FormatError
				if !errors.Is(err, ErrNoELF) && !errors.As(err, &format) {
					t.Errorf("%v is neither ErrNoELF nor a *FormatError", err)
				}
			}
		})
	}
}

// A dynamic section of MaxDynamic entries ends in time, one more does not.
func TestDynamicSectionIsLimited(t *testing.T) {
	make := func(entries int) []byte {
		b := elftest.Make(elftest.Spec{Soname: "s"})
		at, dynamic := len(b), 64+56
		for i := range entries {
			tag := uint64(elf.DT_DEBUG)
			if i == entries-1 {
				tag = uint64(elf.DT_NULL)
			}
			b = binary.LittleEndian.AppendUint64(b, tag)
			b = binary.LittleEndian.AppendUint64(b, 0)
		}
		binary.LittleEndian.PutUint64(b[dynamic+8:], uint64(at))
		binary.LittleEndian.PutUint64(b[dynamic+32:], uint64(entries*16))
		return b
	}
	if _, err := Read(blob(make(MaxDynamic))); err != nil {
		t.Errorf("%d entries: %v", MaxDynamic, err)
	}
	if _, err := Read(blob(make(MaxDynamic + 1))); err == nil || !strings.Contains(err.Error(), "more than 4096 entries") {
		t.Errorf("%d entries: %v", MaxDynamic+1, err)
	}
}

func TestSections(t *testing.T) {
	b := elftest.Make(full)
	for _, c := range []interface {
		Size() int64
		Open() (io.ReadCloser, error)
	}{blob(b), stream(b)} {
		h, got, err := Sections(c)
		if err != nil || h.Type != elf.ET_DYN {
			t.Fatal(h, err)
		}
		sizes := map[string]uint64{}
		for _, s := range got {
			sizes[s.Name] = s.Size
		}
		if sizes[".symtab"] != 240 || sizes[".debug_info"] != 9000 || len(got) != 5 {
			t.Errorf("sections %+v", got)
		}
	}
	// A section may not claim more than the file has.
	table := binary.LittleEndian.Uint64(b[40:])
	binary.LittleEndian.PutUint64(b[table+64+32:], 1<<60)
	_, got, err := Sections(blob(b))
	if err != nil || got[1].Size > uint64(len(b)) {
		t.Errorf("a section of %d bytes in a file of %d, %v", got[1].Size, len(b), err)
	}
	// Nor the table.
	binary.LittleEndian.PutUint64(b[40:], uint64(len(b)))
	if _, _, err := Sections(blob(b)); err == nil {
		t.Error("a table behind the end is read")
	}
}

func TestSectionsAreLimited(t *testing.T) {
	for _, n := range []int{MaxSections, MaxSections + 1} {
		b := elftest.Make(elftest.Spec{Debug: 1})
		binary.LittleEndian.PutUint64(b[40:], uint64(len(b)))
		binary.LittleEndian.PutUint16(b[60:], uint16(n))
		b = append(b, make([]byte, 64*n)...)
		_, got, err := Sections(blob(b))
		if err != nil || len(got) != MaxSections {
			t.Errorf("%d sections: %d, %v", n, len(got), err)
		}
	}
}

// What debug/elf says of the machine's own programs is what Read says.
func TestReadAgreesWithDebugELF(t *testing.T) {
	files, _ := filepath.Glob("/usr/bin/*")
	libs, _ := filepath.Glob("/usr/lib/*-linux-gnu/*.so*")
	seen := 0
	for _, name := range append(files, libs...) {
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > 8<<20 {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		got, err := Read(blob(b))
		if errors.Is(err, ErrNoELF) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			continue
		}
		seen++
		needed, _ := f.ImportedLibraries()
		soname, _ := f.DynString(elf.DT_SONAME)
		runpath, _ := f.DynString(elf.DT_RUNPATH)
		if got.Machine != f.Machine || got.Entry != f.Entry || !slices.Equal(got.Needed, needed) || got.Soname != strings.Join(soname, "") || got.Runpath != strings.Join(runpath, "") {
			t.Errorf("%s: %+v; debug/elf says %v %q %q %q", name, got, f.Machine, needed, soname, runpath)
		}
		_, sections, err := Sections(blob(b))
		if err != nil || len(sections) != len(f.Sections) {
			t.Errorf("%s: %d sections, %v; debug/elf says %d", name, len(sections), err, len(f.Sections))
			continue
		}
		for i, s := range f.Sections {
			if sections[i].Name != s.Name || sections[i].Type != s.Type || s.Type != elf.SHT_NOBITS && sections[i].Size != s.FileSize {
				t.Errorf("%s: section %+v; debug/elf says %+v", name, sections[i], s.SectionHeader)
			}
		}
	}
	t.Logf("%d files", seen)
	if seen == 0 {
		testneed.Missing(t, "programs", "no ELF files on this machine")
	}
}

// seeds are files that Read and Sections take.
func seeds() [][]byte {
	return [][]byte{
		elftest.Make(full), elftest.Program(), elftest.Make(elftest.Spec{Class: elf.ELFCLASS32, Machine: elf.EM_386, Needed: []string{"a"}, Debug: 1}),
		elftest.Make(elftest.Spec{Data: elf.ELFDATA2MSB, Rpath: "/x", Symbols: 48}),
	}
}

func TestSeedsArePassedByTheParser(t *testing.T) {
	for i, b := range seeds() {
		if _, err := Read(blob(b)); err != nil {
			t.Errorf("seed %d: %v", i, err)
		}
		if _, _, err := Sections(blob(b)); err != nil {
			t.Errorf("seed %d: %v", i, err)
		}
	}
}

func FuzzELF(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err := Read(blob(b))
		two, err2 := Read(stream(b))
		if (err == nil) != (err2 == nil) {
			t.Fatalf("random access says %v, a stream %v", err, err2)
		}
		if err == nil {
			if one.Interp != two.Interp || !slices.Equal(one.Needed, two.Needed) {
				t.Errorf("%+v and %+v", one, two)
			}
			if len(one.Needed) > MaxNeeded || len(one.Soname) > MaxString || len(one.Runpath) > MaxPath || len(one.Interp) > MaxString {
				t.Errorf("a limit is exceeded: %+v", one)
			}
		}
		_, sections, _ := Sections(blob(b))
		if len(sections) > MaxSections {
			t.Errorf("%d sections", len(sections))
		}
		for _, s := range sections {
			if s.Size > uint64(len(b)) {
				t.Errorf("section %+v in a file of %d bytes", s, len(b))
			}
		}
	})
}
