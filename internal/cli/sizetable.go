package cli

import (
	"fmt"
	"io"
	"strings"

	buildsize "github.com/volant/fledge-action/build/size"
)

// sizeTable shows where an artifact's bytes are.
func sizeTable(w io.Writer, r *buildsize.Report) {
	line := func(bytes int64, format string, args ...any) {
		text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\ufffd")
		fmt.Fprintf(w, "%12s  %s\n", size(bytes), printable(text))
	}
	fmt.Fprintln(w)
	line(r.Download, "fetched at each start of a VM, %s of it free space", size(r.Empty))
	line(r.Content, "in %d files", r.Files)
	for _, d := range r.Directories {
		line(d.Bytes, "%s", d.Path)
	}
	if r.Strippable == 0 {
		return
	}
	line(r.Strippable, "could be saved by strip -s")
	for _, b := range r.Unstripped {
		how := ""
		if b.Go {
			how = `  (Go: -ldflags="-s -w")`
		}
		line(b.Saves, "  of %s%s", b.Path, how)
	}
	if r.More > 0 {
		fmt.Fprintf(w, "%14s  of %d more\n", "", r.More)
	}
}
