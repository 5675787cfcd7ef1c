package artifact

import (
	"context"
	"io"

	"github.com/volant/fledge-action/internal/btrfsread"
	"github.com/volant/fledge-action/internal/ext4read"
	"github.com/volant/fledge-action/internal/squashfsread"
	"github.com/volant/fledge-action/internal/xfsread"
)

// Check looks for what is wrong with an artifact and can be read nevertheless:
// with an image everything that the small fsck of its reader knows, with an archive what
// the kernel would unpack in another way than it looks. The error is about what
// cannot be read at all.
func Check(ctx context.Context, r io.ReaderAt, size int64, opt Options) ([]string, error) {
	kind, err := detect(r, size)
	if err != nil {
		return nil, err
	}
	// Without verifying, so that Check finds all that is wrong.
	var f interface {
		Check(ctx context.Context) ([]string, error)
	}
	switch kind {
	case kindExt4:
		return checkImage(ctx, r, size)
	case kindSquashfs:
		f, err = squashfsread.Open(r, size, squashfsread.Options{})
	case kindXFS:
		f, err = xfsread.Open(r, size, xfsread.Options{})
	case kindBtrfs:
		f, err = btrfsread.Open(r, size, btrfsread.Options{})
	default:
		a, err := Open(ctx, r, size, opt)
		if err != nil {
			return nil, err
		}
		return a.Archive.Problems, nil
	}
	if err != nil {
		return nil, err
	}
	return f.Check(ctx)
}

func checkImage(ctx context.Context, r io.ReaderAt, size int64) ([]string, error) {
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
