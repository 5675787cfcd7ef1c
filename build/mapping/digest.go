package mapping

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
)

// digest hashes what was mapped; package doc has the format.
func digest(entries []entry) string {
	h := sha256.New()
	io.WriteString(h, "fledge mappings 1\n")
	last := ""
	for _, e := range entries {
		switch {
		case e.mode.IsDir() && e.name == last: // two directories merged into one
		case e.mode.IsDir():
			fmt.Fprintf(h, "d %04o %d:%s\n", e.mode.Perm(), len(e.name), e.name)
		case e.mode&fs.ModeSymlink != 0:
			fmt.Fprintf(h, "l %d:%s %d:%s\n", len(e.target), e.target, len(e.name), e.name)
		default:
			fmt.Fprintf(h, "f %04o %d %x %d:%s\n", e.mode.Perm(), e.file.Size(), e.sum, len(e.name), e.name)
		}
		last = e.name
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil))
}
