package tree

import (
	"bytes"
	"io"
)

// Bytes is content that is held in memory, for files that are small by nature.
type Bytes []byte

// Size is the length in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open yields the bytes. It never fails.
func (b Bytes) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
