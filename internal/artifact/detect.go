package artifact

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/volant/fledge-action/internal/btrfsread"
	"github.com/volant/fledge-action/internal/ext4read"
)

// kind is what the bytes of a file say that it is.
type kind string

const (
	kindExt4     kind = "ext4"
	kindSquashfs kind = "squashfs"
	kindXFS      kind = "xfs"
	kindBtrfs    kind = "btrfs"
	kindNone     kind = "none" // a newc archive, not compressed
	kindGzip     kind = "gzip"
	kindZstd     kind = "zstd"
)

// squashfsMagic begins a squashfs image.
const squashfsMagic = "hsqs"

// xfsMagic begins an xfs image.
const xfsMagic = "XFSB"

// archiveMagics are the first bytes of what is read as an archive.
var archiveMagics = []struct {
	kind  kind
	magic string
}{
	{kindNone, "07070"}, {kindGzip, "\x1f\x8b"}, {kindZstd, "\x28\xb5\x2f\xfd"},
}

// foreign are formats that people may take for one of ours.
var foreign = []struct {
	at          int
	magic, name string
}{
	{0, "\xfd7zXZ\x00", "compressed with xz"},
	{0, "BZh", "compressed with bzip2"},
	{0, "\x04\x22\x4d\x18", "compressed with lz4"},
	{0, "\x02\x21\x4c\x18", "compressed with lz4"},
	{0, "\x5d\x00\x00", "compressed with lzma"},
	{257, "ustar", "a tar archive"},
	{0, "!<arch>\n", "an ar archive"},
	{0, "PK\x03\x04", "a zip archive"},
	{0, "\x7fELF", "an ELF file"},
	{0, "\xc7\x71", "an old binary cpio archive"},
	{0, "\x71\xc7", "an old binary cpio archive"},
	{0, "QFI\xfb", "a qcow2 disk"},
	{510, "\x55\xaa", "a disk with a partition table"},
}

// detect finds out what a file is. A file that can be read as an image and as an
// archive is refused, because others may take it for what we do not show.
func detect(r io.ReaderAt, size int64) (kind, error) {
	head := make([]byte, min(max(size, 0), 0x10048))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", fmt.Errorf("reading the first bytes: %w", err)
	}
	has := func(at int, magic string) bool {
		return at <= len(head) && bytes.HasPrefix(head[at:], []byte(magic))
	}
	image := has(1024+0x38, "\x53\xef")
	for _, m := range archiveMagics {
		if !has(0, m.magic) {
			continue
		}
		if image {
			if _, err := OpenImage(r, size, false); err == nil {
				return "", fmt.Errorf("the bytes are an ext4 image and begin like an archive (%q): %w", m.magic, ErrUnsupported)
			}
		}
		if has(btrfsMagicAt, btrfsread.Magic) {
			if _, err := btrfsread.Open(r, size, btrfsread.Options{}); err == nil {
				return "", fmt.Errorf("the bytes are a btrfs image and begin like an archive (%q): %w", m.magic, ErrUnsupported)
			}
		}
		return m.kind, nil
	}
	if has(0, squashfsMagic) {
		if image {
			if _, err := OpenImage(r, size, false); err == nil {
				return "", fmt.Errorf("the bytes are an ext4 image and begin like a squashfs: %w", ErrUnsupported)
			}
		}
		return kindSquashfs, nil
	}
	if has(0, xfsMagic) {
		if image {
			if _, err := OpenImage(r, size, false); err == nil {
				return "", fmt.Errorf("the bytes are an ext4 image and begin like an xfs: %w", ErrUnsupported)
			}
		}
		return kindXFS, nil
	}
	if has(btrfsMagicAt, btrfsread.Magic) {
		if image {
			if _, err := OpenImage(r, size, false); err == nil {
				return "", fmt.Errorf("the bytes are an ext4 image and have a btrfs superblock: %w", ErrUnsupported)
			}
		}
		return kindBtrfs, nil
	}
	if image {
		return kindExt4, nil
	}
	for _, f := range foreign {
		if f.magic != "" && has(f.at, f.magic) {
			return "", fmt.Errorf("it is %s; ext4, squashfs, xfs and btrfs images and newc archives (plain, gzip or zstd) are read: %w", f.name, ErrUnsupported)
		}
	}
	return "", fmt.Errorf("it is neither an ext4, squashfs, xfs or btrfs image nor a newc archive (plain, gzip or zstd): %w", ErrUnsupported)
}

// OpenImage reads only the superblock of an ext4 image.
func OpenImage(r io.ReaderAt, size int64, verify bool) (*ext4read.FS, error) {
	return ext4read.Open(r, size, ext4read.Options{Verify: verify})
}
