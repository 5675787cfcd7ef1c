package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Limits of a database.
const (
	MaxSize     = 2 << 30  // bytes of the file
	MaxHeader   = 32 << 20 // bytes of one package's header
	MaxPackages = 100_000
)

// ErrFormat is wrapped by the errors of files that break their format.
var ErrFormat = errors.New("damaged rpm database")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// reader is how the parts of one database are read.
type reader struct {
	io.ReaderAt
	size    int64
	yield   func(header []byte) error
	visited map[uint32]bool
	yielded int
}

// Read gives add every package of a database of size bytes. Beside an error of a damaged
// database the packages that could be read have been given; an error of add ends it.
func Read(f io.ReaderAt, size int64, add func(Package) error) error {
	if size > MaxSize {
		return fmt.Errorf("reading rpm database: %d bytes, the limit is %d", size, MaxSize)
	}
	var wrong error // headers that are damaged; the others may be whole
	bad := 0
	err := headers(f, size, func(b []byte) error {
		p, err := parseHeader(b)
		if err == nil {
			return add(p)
		}
		if bad++; bad == maxDamaged {
			return err
		}
		wrong = errors.Join(wrong, err)
		return nil
	})
	if err = errors.Join(wrong, err); err != nil {
		return fmt.Errorf("reading rpm database: %w", err)
	}
	return nil
}

// maxDamaged is how many damaged headers make a database one that is not read on.
const maxDamaged = 10

// headers finds the database's kind and yields every header.
func headers(f io.ReaderAt, size int64, yield func([]byte) error) error {
	r := &reader{ReaderAt: f, size: size, visited: map[uint32]bool{}, yield: yield}
	var head [32]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return damaged("%d bytes are no database", size)
	}
	switch {
	case bytes.HasPrefix(head[:], []byte("SQLite format 3\x00")):
		return r.sqlite()
	case bytes.HasPrefix(head[:], []byte("RpmP")):
		return r.ndb(head)
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if order.Uint32(head[12:]) == bdbHashMagic {
			return r.bdb(order)
		}
	}
	return damaged("it is none of SQLite, ndb and Berkeley DB hash")
}

// read returns n bytes from off on.
func (r *reader) read(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > r.size-n {
		return nil, damaged("byte %d and %d more lie past its end", off, n)
	}
	b := make([]byte, n)
	_, err := r.ReadAt(b, off)
	return b, err
}

// visit refuses to come to a page for the second time.
func (r *reader) visit(page uint32) error {
	if r.visited[page] {
		return damaged("page %d is used twice", page)
	}
	r.visited[page] = true
	return nil
}

// give yields one header.
func (r *reader) give(header []byte) error {
	if r.yielded++; r.yielded > MaxPackages {
		return fmt.Errorf("more than %d packages", MaxPackages)
	}
	return r.yield(header)
}

// checkHeaderSize refuses a header that no package has.
func checkHeaderSize(n uint64) error {
	if n > MaxHeader {
		return damaged("a header of %d bytes, the limit is %d", n, MaxHeader)
	}
	return nil
}
