package build

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/volant/fledge-action/build/initramfs"
	"github.com/volant/fledge-action/manifest"
)

// guard refuses to replace files that no build has made: the two names are often
// those of something its user wrote.
func (b *builder) guard() error {
	if err := guardArtifact(b.path); err != nil {
		return err
	}
	if err := b.guardMerged(); err != nil {
		return err
	}
	if err := b.checkSBOM(); err != nil {
		return err
	}
	return b.guardManifest(b.manifestPath())
}

// guardMerged lets no build write over a plugin of a folder of several, whose SHA256SUMS
// would no longer be true for any of them.
func (b *builder) guardMerged() error {
	data, err := sumsAt(filepath.Join(filepath.Dir(b.path), SumsName))
	if err != nil {
		return err
	}
	lists := func(name string) bool { return bytes.Contains(data, []byte("  "+name+"\n")) }
	if bytes.Contains(data, []byte("."+ManifestName+"\n")) && (b.Request.SBOM != "" || lists(filepath.Base(b.path))) {
		return fmt.Errorf("output %q: %s there is of several plugins; build into another folder, and run 'fledge release merge' again", b.path, SumsName)
	}
	return nil
}

// maxSums is how much of a SHA256SUMS is looked at, in bytes.
const maxSums = 1 << 20

// sumsAt reads the checksums that are there; nil without.
func sumsAt(path string) ([]byte, error) {
	f, err := openOutput(path)
	if f == nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSums))
}

// guardArtifact lets only an empty file and an earlier artifact be replaced.
func guardArtifact(path string) error {
	f, err := openOutput(path)
	if f == nil {
		return err
	}
	defer f.Close()
	if has(f, superMagic, "\x53\xef") || has(f, 0, squashfsMagic) || has(f, 0, xfsMagic) || has(f, btrfsMagicAt, btrfsMagic) || initramfs.IsArchive(f) {
		return nil
	}
	return fmt.Errorf("output %q: it exists and is not an earlier artifact; remove it or choose another name", path)
}

// superMagic is where an ext4 filesystem has 0xef53, in bytes from its start.
const superMagic = 1024 + 0x38

// What a filesystem begins with, and where btrfs has it, in bytes from the start.
const (
	squashfsMagic = "hsqs"
	xfsMagic      = "XFSB"
	btrfsMagic    = "_BHRfS_M"
	btrfsMagicAt  = 64<<10 + 0x40
)

// has tells whether a file has a text at a byte.
func has(f *os.File, at int64, text string) bool {
	b := make([]byte, len(text))
	_, err := f.ReadAt(b, at)
	return err == nil && string(b) == text
}

// openOutput opens a file that a build is about to replace. It returns nil when
// there is none or an empty one. What is no regular file is refused unopened: a
// FIFO would wait for ever, and a device may have no end.
func openOutput(path string) (*os.File, error) {
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking at the output: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("output %q: it exists and is not a regular file; remove it or choose another output", path)
	case info.Size() == 0:
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("looking at the output: %w", err)
	}
	return f, nil
}

// guardManifest lets only an empty file and a manifest that names a checksum be
// replaced, which is what a build writes.
func (b *builder) guardManifest(path string) error {
	if b.Template != nil && sameFile(b.Template.File, path) {
		return fmt.Errorf("manifest template %q: the build writes its own manifest there; rename the template or choose another output folder", b.Template.File)
	}
	f, err := openOutput(path)
	if f == nil {
		return err
	}
	defer f.Close()
	m, err := manifest.Decode(f)
	if err != nil || !hasChecksum(m) {
		return fmt.Errorf("%s: it exists and no build has written it; rename it, and name it with --manifest if it is a template", path)
	}
	if name, err := b.draft(nil); err == nil && m.Name != name.Manifest.Name {
		b.warn(fmt.Sprintf("%s described plugin %q until now; give each plugin an output folder of its own", path, m.Name))
	}
	return nil
}

func hasChecksum(m *manifest.Manifest) bool {
	_, checksum := m.Artifact()
	return checksum != ""
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
