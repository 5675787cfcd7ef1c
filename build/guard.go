package build

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/volant/fledge-action/manifest"
)

// superMagic is where an ext4 filesystem has 0xef53, in bytes from its start.
const superMagic = 1024 + 0x38

// guard refuses to replace files that no build has made: the two names are often
// those of something its user wrote.
func (b *builder) guard() error {
	if err := guardArtifact(b.path); err != nil {
		return err
	}
	return b.guardManifest(b.manifestPath())
}

// guardArtifact lets only an empty file and an earlier artifact be replaced.
func guardArtifact(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the output: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 || !info.Mode().IsRegular() {
		return err // what is no file is refused when it is created
	}
	var magic [2]byte
	if _, err := f.ReadAt(magic[:], superMagic); err != nil || magic != [2]byte{0x53, 0xef} {
		return fmt.Errorf("output %q: it exists and is not an earlier artifact; remove it or choose another name", path)
	}
	return nil
}

// guardManifest lets only an empty file and a manifest that names a checksum be
// replaced, which is what a build writes.
func (b *builder) guardManifest(path string) error {
	if b.Template != nil && sameFile(b.Template.File, path) {
		return fmt.Errorf("manifest template %q: the build writes its own manifest there; rename the template or choose another output folder", b.Template.File)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", ManifestName, err)
	}
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil || !hasChecksum(m) {
		return fmt.Errorf("%s: it exists and no build has written it; rename it, and name it with --manifest if it is a template", path)
	}
	if name, err := b.draft(nil); err == nil && m.Name != name.Manifest.Name {
		b.warn(fmt.Sprintf("%s described plugin %q until now; give each plugin an output folder of its own", path, m.Name))
	}
	return nil
}

func hasChecksum(m *manifest.Manifest) bool {
	return m.Rootfs != nil && m.Rootfs.Checksum != "" || m.Initramfs != nil && m.Initramfs.Checksum != ""
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
