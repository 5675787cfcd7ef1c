package boot

import (
	"fmt"
	"io"
)

// A record is one entry of a newc archive. body may be nil.
//
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
type record struct {
	name         string
	mode         uint32
	major, minor uint32
	size         int64
	body         io.Reader
}

// File types and modes of the archives that boot makes.
const (
	modeDir     = 0o040755
	modeProgram = 0o100755
	modeFile    = 0o100644
	modeLink    = 0o120777
	modeConsole = 0o020600
)

// The console's device number, which the kernel opens for process 1.
const (
	consoleMajor = 5
	consoleMinor = 1
)

// writeArchive writes a newc archive of the records, in their order.
func writeArchive(w io.Writer, records []record) error {
	for i, r := range append(records[:len(records):len(records)], record{name: "TRAILER!!!"}) {
		if err := r.write(w, i+1); err != nil {
			return fmt.Errorf("writing %q: %w", r.name, err)
		}
	}
	return nil
}

func (r record) write(w io.Writer, ino int) error {
	const headerSize, most = 110, 1<<32 - 1
	if r.size > most {
		return fmt.Errorf("%d bytes do not fit in 32 bits", r.size)
	}
	nameSize := int64(len(r.name) + 1)
	_, err := fmt.Fprintf(w, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00%s",
		ino, r.mode, 0, 0, 1, 0, r.size, 0, 0, r.major, r.minor, nameSize, 0, r.name, zeros(headerSize+nameSize))
	if err != nil || r.size == 0 {
		return err
	}
	if _, err := io.CopyN(w, r.body, r.size); err != nil {
		return noEOF(err)
	}
	_, err = io.WriteString(w, zeros(r.size))
	return err
}

// zeros fills up to a multiple of 4 bytes.
func zeros(n int64) string { return "\x00\x00\x00"[:padding(n)] }
