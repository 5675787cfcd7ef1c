package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/internal/artifact"
)

// openFile opens a file that the user names, and gives its size.
func openFile(name string) (*os.File, int64, error) {
	info, err := os.Stat(name) // first, since opening a FIFO would wait
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("%s: no such file", shown(name))
	}
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: it is not a regular file", shown(name))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// maxContent is how many bytes of files are read for a content digest. An image with holes
// may claim to have more than anybody can wait for.
const maxContent = 1 << 40

// contentDigest reads what an artifact holds.
func contentDigest(ctx context.Context, f io.ReaderAt, size int64) (string, error) {
	var sp spool
	defer sp.Close()
	a, err := artifact.Open(ctx, f, size, artifact.Options{Verify: true, Spool: &sp})
	if err != nil {
		return "", err
	}
	return a.ContentDigest(ctx, content.Options{MaxBytes: maxContent})
}

// spool is a temporary file that is made when something is written to it.
type spool struct{ f *os.File }

func (s *spool) Write(p []byte) (int, error) {
	if s.f == nil {
		f, err := cache.Spool("")
		if err != nil {
			return 0, err
		}
		s.f = f
	}
	return s.f.Write(p)
}

func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	if s.f == nil {
		return 0, io.EOF
	}
	return s.f.ReadAt(p, off)
}

func (s *spool) Close() error {
	if s.f == nil {
		return nil
	}
	return s.f.Close()
}

// shown is a name as it is printed: as it is if it is plain, else as a quoted Go
// string. No name works the terminal, breaks a line or looks like another.
func shown(name string) string {
	plain := name != "" && !strings.ContainsAny(name, "\"\\") && !strings.Contains(name, " -> ") &&
		strings.TrimSpace(name) == name && !strings.ContainsRune(name, utf8.RuneError)
	for _, r := range name {
		plain = plain && strconv.IsPrint(r)
	}
	if plain {
		return name
	}
	return strconv.Quote(name)
}

// lsMode shows type and mode as ls(1) does.
func lsMode(e *artifact.Entry) string {
	kind := map[artifact.Type]byte{
		artifact.File: '-', artifact.Dir: 'd', artifact.Symlink: 'l', artifact.Char: 'c',
		artifact.Block: 'b', artifact.FIFO: 'p', artifact.Socket: 's',
	}[e.Type]
	b := []byte{kind}
	for i, c := range []byte("rwxrwxrwx") {
		if e.Mode&(0o400>>i) == 0 {
			c = '-'
		}
		b = append(b, c)
	}
	for _, s := range []struct {
		bit  uint32
		at   int
		mark byte
	}{{0o4000, 3, 's'}, {0o2000, 6, 's'}, {0o1000, 9, 't'}} {
		if e.Mode&s.bit == 0 {
			continue
		}
		if b[s.at] == '-' {
			s.mark -= 'a' - 'A'
		}
		b[s.at] = s.mark
	}
	return string(b)
}

// marshal encodes a value as JSON in which everything that is not printable is
// escaped, so that it does no harm on a terminal either.
func marshal(v any, prefix, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, indent)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	var out []byte
	for _, r := range strings.TrimRight(b.String(), "\n") {
		switch {
		case r < 0x7F || strconv.IsPrint(r):
			out = utf8.AppendRune(out, r)
		case r > 0xFFFF:
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3FF)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out, nil
}
