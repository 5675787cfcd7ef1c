package vmtest

import (
	"fmt"
	"io"
	"os"
)

// writeInitramfs writes a newc archive with /init, which is the program at path, and the
// console that the kernel opens for it.
//
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
func writeInitramfs(w io.Writer, path string) error {
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	records := []record{
		{name: "dev", mode: 0o040755},
		{name: "dev/console", mode: 0o020600, major: 5, minor: 1},
		{name: "init", mode: 0o100755, body: program},
		{name: "TRAILER!!!"},
	}
	for i, r := range records {
		if err := r.write(w, i+1); err != nil {
			return err
		}
	}
	return nil
}

type record struct {
	name         string
	mode         uint32
	major, minor uint32
	body         []byte
}

func (r record) write(w io.Writer, ino int) error {
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		ino, r.mode, 0, 0, 1, 0, len(r.body), 0, 0, r.major, r.minor, len(r.name)+1, 0)
	for _, part := range [][]byte{padded(header + r.name + "\x00"), padded(string(r.body))} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// padded fills up to a multiple of 4 bytes.
func padded(s string) []byte {
	return append([]byte(s), make([]byte, (4-len(s)%4)%4)...)
}
