package boot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/volant/fledge-action/manifest"
)

// archive is an initramfs artifact.
type archive struct {
	r      io.ReaderAt
	size   int64
	medium medium
}

// limits bound what is read to find a program's architecture. What lies past them
// is not looked at; the kernel will.
type limits struct {
	records  int
	unpacked int64 // bytes
}

var archiveLimits = limits{records: 1 << 20, unpacked: 4 << 30}

const (
	maxWindow = 128 << 20 // bytes that zstd may look back
	maxName   = 4096      // bytes, with the NUL, as in the kernel
)

// arch is the architecture of the first ELF program in the archive that starts
// it, in Go's words, "" if there is none.
func (a *archive) arch(ctx context.Context, m *manifest.Manifest, limits limits) (string, error) {
	r, err := a.open()
	if err != nil {
		return "", err
	}
	defer r.Close()
	wanted := map[string]bool{"init": true, "bin/kestrel": true}
	if e := m.Workload.Entrypoint; len(e) > 0 {
		wanted[path.Join(".", path.Join("/", e[0]))] = true
	}
	found := ""
	bounded := &io.LimitedReader{R: r, N: limits.unpacked}
	err = records(ctx, bufio.NewReaderSize(bounded, 1<<16), limits.records, func(name string, body io.Reader) bool {
		if wanted[name] {
			if e, err := elfHead(body); err == nil {
				found = e.Arch
			}
		}
		return found == ""
	})
	if err != nil && bounded.N > 0 {
		return "", fmt.Errorf("the archive is damaged: %w", err)
	}
	return found, nil
}

func (a *archive) open() (io.ReadCloser, error) {
	r := io.NewSectionReader(a.r, 0, a.size)
	switch a.medium {
	case mediumGzip:
		return gzip.NewReader(r)
	case mediumZstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// records hands the regular files of a newc archive to visit until that returns
// false, or a trailer or the limit of records is reached. Names are cleaned.
//
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
func records(ctx context.Context, r *bufio.Reader, limit int, visit func(name string, body io.Reader) bool) error {
	const (
		headerSize   = 110
		modeAt       = 14
		sizeAt       = 54
		nameAt       = 94
		typeMask     = 0o170000
		typeRegular  = 0o100000
		trailer      = "TRAILER!!!"
		fieldDigits  = 8
		magic        = "070701"
		magicWithSum = "070702"
	)
	header := make([]byte, headerSize)
	for range limit {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, header); err != nil {
			return fmt.Errorf("reading a header: %w", noEOF(err))
		}
		if m := string(header[:len(magic)]); m != magic && m != magicWithSum {
			return fmt.Errorf("a header begins with %q", m)
		}
		var field [3]int64
		for i, at := range []int{modeAt, sizeAt, nameAt} {
			v, err := strconv.ParseUint(string(header[at:at+fieldDigits]), 16, 32)
			if err != nil {
				return fmt.Errorf("a header has %q for a number", header[at:at+fieldDigits])
			}
			field[i] = int64(v)
		}
		mode, size, nameSize := field[0], field[1], field[2]
		if nameSize < 1 || nameSize > maxName {
			return fmt.Errorf("a name has %d bytes, the limit is %d", nameSize, maxName)
		}
		name := make([]byte, nameSize+padding(headerSize+nameSize))
		if _, err := io.ReadFull(r, name); err != nil {
			return fmt.Errorf("reading a name: %w", noEOF(err))
		}
		text := string(name[:nameSize-1])
		if text == trailer {
			return nil
		}
		body := &io.LimitedReader{R: r, N: size}
		if mode&typeMask == typeRegular && !visit(path.Join(".", path.Join("/", text)), body) {
			return nil
		}
		if _, err := io.CopyN(io.Discard, r, body.N+padding(size)); err != nil {
			return fmt.Errorf("reading %q: %w", text, noEOF(err))
		}
	}
	return nil
}

// padding is what is missing to a multiple of 4.
func padding(n int64) int64 { return (4 - n%4) % 4 }

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
