package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"

	"github.com/volant/fledge-action/internal/outfile"
)

// seal hashes the finished artifact, which image reads, and syncs it to the disk at
// the same time.
func (b *builder) seal(ctx context.Context, out *outfile.File, image io.ReaderAt, size int64) (string, error) {
	b.stage("hashing the artifact and syncing it to disk")
	synced := make(chan error, 1)
	go func() { synced <- out.Sync() }()
	digest, err := b.hash(ctx, image, size)
	if err != nil {
		return "", err
	}
	if err := <-synced; err != nil {
		return "", fmt.Errorf("syncing %s: %w", b.path, err)
	}
	return digest, nil
}

// hash reads the finished artifact once more.
func (b *builder) hash(ctx context.Context, f io.ReaderAt, size int64) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil {
			return "", fmt.Errorf("hashing the artifact: %w", err)
		}
		h.Write(buf[:n])
		at += int64(n)
		b.event(Event{Kind: Progress, Done: at, Total: size})
	}
	return fmt.Sprintf("sha256:%x", h.Sum(nil)), nil
}

// commit makes both files appear. The manifest comes last: there is never one
// whose artifact is not there.
func (b *builder) commit(ctx context.Context, artifact, mf *outfile.File) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return outfile.CommitBoth(artifact, mf)
}
