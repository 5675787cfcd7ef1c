package mapping

import (
	"io/fs"
	"slices"
	"strings"
)

// executable are the directories below which every mapped file is executable.
// The list is a promise to users; docs/mappings.md says why no other is on it.
var executable = []string{"bin/", "usr/bin/", "usr/local/bin/", "lib/", "usr/lib/"}

// filePerm is the mode of a mapped file. Both the destination as written and the
// one it leads to count: "/bin/x" stays executable where bin is a link, and so
// does "/tools/x" where tools is a link to usr/bin. programs are further names that
// are executable wherever they are, the first process of an initramfs for one.
func filePerm(asked, name string, programs []string) fs.FileMode {
	if slices.Contains(programs, asked) || slices.Contains(programs, name) {
		return 0o755
	}
	for _, dir := range executable {
		if strings.HasPrefix(asked, dir) || strings.HasPrefix(name, dir) {
			return 0o755
		}
	}
	return 0o644
}
