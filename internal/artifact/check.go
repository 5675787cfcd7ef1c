package artifact

import (
	"context"
	"io"

	"github.com/volant/fledge-action/internal/ext4read"
)

// Check looks for what is wrong with an artifact and can be read nevertheless:
// with an image everything that ext4read's small fsck knows, with an archive what
// the kernel would unpack in another way than it looks. The error is about what
// cannot be read at all.
func Check(ctx context.Context, r io.ReaderAt, size int64, opt Options) ([]string, error) {
	kind, err := detect(r, size)
	if err != nil {
		return nil, err
	}
	if kind != kindExt4 {
		a, err := Open(ctx, r, size, opt)
		if err != nil {
			return nil, err
		}
		return a.Archive.Problems, nil
	}
	f, err := OpenImage(r, size, false)
	if err != nil {
		return nil, err
	}
	problems, err := f.Check(ctx, ext4read.CheckOptions{})
	var list []string
	for _, p := range problems {
		list = append(list, p.String())
	}
	return list, err
}
