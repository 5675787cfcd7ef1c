// Pack is what bench measures of initramfs archives: it archives listed files as
// fledge does, or compresses a ready archive with another library.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	kgzip "github.com/klauspost/compress/gzip"

	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/build/tree"
)

func main() {
	list := flag.String("list", "", "`file` with the paths to archive, one a line")
	compression := flag.String("compression", "gzip", "of the archive")
	level := flag.Int("level", 0, "of the compression")
	klauspost := flag.String("klauspost", "", "compress this ready archive with klauspost's gzip instead")
	out := flag.String("out", "", "write to `file`")
	flag.Parse()
	if err := run(*list, *compression, *level, *klauspost, *out); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(list, compression string, level int, klauspost, out string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if klauspost != "" {
		err = packKlauspost(f, klauspost, level)
	} else {
		err = packTree(f, list, initramfs.Options{Compression: initramfs.Compression(compression), Level: level})
	}
	return errors.Join(err, f.Close())
}

func packKlauspost(w io.Writer, archive string, level int) error {
	in, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer in.Close()
	z, err := kgzip.NewWriterLevel(w, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, in); err != nil {
		return err
	}
	return z.Close()
}

func packTree(w io.Writer, list string, o initramfs.Options) error {
	f, err := os.Open(list)
	if err != nil {
		return err
	}
	defer f.Close()
	t := tree.New()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		file := lines.Text()
		st, err := os.Stat(file)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(file, "/")
		if err := t.MkdirAll(path.Dir(name), tree.Node{Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
			return err
		}
		if err := t.Put(name, &tree.Node{Mode: st.Mode().Perm(), ModTime: time.Unix(0, 0), Content: hostFile{file, st.Size()}}); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	_, err = initramfs.Write(context.Background(), w, t, o)
	return err
}

// hostFile is a file of this machine as content.
type hostFile struct {
	path string
	size int64
}

func (h hostFile) Size() int64                  { return h.size }
func (h hostFile) Open() (io.ReadCloser, error) { return os.Open(h.path) }
