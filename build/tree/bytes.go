package tree

import (
	"bytes"
	"io"
)

// Bytes is content that is held in memory, for files that are small by nature.
type Bytes []byte

// Size is the length in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open yields the bytes. It never fails. The reader is an io.ReaderAt too.
func (b Bytes) Open() (io.ReadCloser, error) { return bytesReader{bytes.NewReader(b)}, nil }

type bytesReader struct{ *bytes.Reader }

func (bytesReader) Close() error { return nil }
