// Package newctest writes newc archives for tests, good and bad: every field is as
// the test says. It shares no code with the readers.
package newctest

import (
	"fmt"
	"strings"
)

// Record is one record. Zero fields get what a writer would give.
type Record struct {
	Name                          string
	Mode, UID, GID, Mtime         uint32
	Ino, Nlink                    uint32 // 0: the record's place, 1
	DevMajor, DevMinor            uint32
	Major, Minor                  uint32 // of a device
	Body                          string
	Magic                         string // "" is "070701"
	Size, NameSize, Check, Header string // instead of the right eight digits; Header of all 110 bytes
	Fill                          byte   // of padding
	RawName                       string // instead of Name and its NUL
}

// Trailer ends an archive.
var Trailer = Record{Name: "TRAILER!!!", Ino: zero}

// zero stands for a number that is really 0.
const zero = 0xFFFFFFFF

// Archive gives the bytes of records and a trailer.
func Archive(records ...Record) string { return Records(append(records, Trailer)...) }

// Records gives the bytes of records alone.
func Records(records ...Record) string {
	var b strings.Builder
	for i, r := range records {
		r.write(&b, uint32(i+1))
	}
	return b.String()
}

func (r Record) write(b *strings.Builder, place uint32) {
	name := r.RawName
	if name == "" {
		name = r.Name + "\x00"
	}
	number := func(n, instead uint32) uint32 {
		switch n {
		case 0:
			return instead
		case zero:
			return 0
		}
		return n
	}
	digits := func(text string, n int) string {
		if text != "" {
			return text
		}
		return fmt.Sprintf("%08X", n)
	}
	magic := r.Magic
	if magic == "" {
		magic = "070701"
	}
	header := magic + fmt.Sprintf("%08X%08X%08X%08X%08X%08X", number(r.Ino, place), r.Mode, r.UID, r.GID, number(r.Nlink, 1), r.Mtime) +
		digits(r.Size, len(r.Body)) + fmt.Sprintf("%08X%08X%08X%08X", r.DevMajor, r.DevMinor, r.Major, r.Minor) +
		digits(r.NameSize, len(name)) + digits(r.Check, 0)
	if r.Header != "" {
		header = r.Header
	}
	for _, part := range []string{header + name, r.Body} {
		b.WriteString(part)
		for n := len(part); n%4 != 0; n++ {
			b.WriteByte(r.Fill)
		}
	}
}

// File, Dir, Link and Device are records of the usual kinds.
func File(name, body string) Record   { return Record{Name: name, Mode: 0o100644, Body: body} }
func Dir(name string) Record          { return Record{Name: name, Mode: 0o040755} }
func Link(name, target string) Record { return Record{Name: name, Mode: 0o120777, Body: target} }
func Device(name string, major, minor uint32) Record {
	return Record{Name: name, Mode: 0o020600, Major: major, Minor: minor}
}
