package boot

import (
	"bytes"
	"context"
	"io"
	"time"
)

// Probe is probe with the accelerator that works everywhere.
func Probe(ctx context.Context, qemu string, k *Kernel, tempDir string, limit time.Duration) string {
	return probe(ctx, AccelTCG, qemu, k, tempDir, limit)
}

// File is a program for WriteArchive.
type File struct {
	Name    string
	Content []byte
}

// WriteArchive writes an archive of programs and what a kernel needs beside them.
func WriteArchive(w io.Writer, files []File) error {
	records := []record{{name: "dev", mode: modeDir}, {name: "dev/console", mode: modeConsole, major: consoleMajor, minor: consoleMinor}}
	for _, f := range files {
		records = append(records, record{name: f.Name, mode: modeProgram, size: int64(len(f.Content)), body: bytes.NewReader(f.Content)})
	}
	return writeArchive(w, records)
}
