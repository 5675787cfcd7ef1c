package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/volant/fledge-action/manifest"
)

// A Plugin is an artifact with its manifest. It is open: Close it.
type Plugin struct {
	Path     string // of the artifact
	Digest   string // "sha256:" and hex
	Manifest *manifest.Manifest
	Warnings []string // what the manifest's rules warn of
	Arch     string   // of its programs, "" if they do not tell

	file *os.File
	disk *disk // nil for an initramfs
}

// Rootfs tells whether the artifact is a root filesystem; otherwise it is an
// initramfs.
func (p *Plugin) Rootfs() bool { return p.Manifest.Rootfs != nil }

// Close closes the artifact.
func (p *Plugin) Close() error { return p.file.Close() }

// A ManifestError is a manifest that Volant would not install. Nothing was
// started.
type ManifestError struct {
	Path string
	Err  error
}

func (e *ManifestError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

func (e *ManifestError) Unwrap() error { return e.Err }

// Open opens an artifact and its manifest, and checks what Volant checks: that the
// manifest is one that installs (otherwise the error is a *ManifestError), and
// that the artifact has its checksum. The artifact's bytes must be what the
// manifest says they are.
func Open(ctx context.Context, artifact, manifestPath string) (*Plugin, error) {
	m, warnings, err := readManifest(manifestPath)
	if err != nil {
		return nil, err
	}
	return OpenWith(ctx, artifact, m, warnings)
}

// OpenWith is Open with a manifest that was read elsewhere and is not checked for
// Volant's rules.
func OpenWith(ctx context.Context, artifact string, m *manifest.Manifest, warnings []string) (*Plugin, error) {
	f, err := os.Open(artifact)
	if err != nil {
		return nil, fmt.Errorf("opening artifact: %w", err)
	}
	p := &Plugin{Path: artifact, Manifest: m, Warnings: warnings, file: f}
	if err := p.check(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

func readManifest(path string) (*manifest.Manifest, []string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, &ManifestError{path, err}
	}
	defer f.Close()
	m, err := manifest.Decode(f)
	if err != nil {
		return nil, nil, &ManifestError{path, err}
	}
	var wrong []error
	var warnings []string
	for _, p := range m.Validate() {
		if p.Warning {
			warnings = append(warnings, fmt.Sprintf("%s: %s", path, p))
		} else {
			wrong = append(wrong, errors.New(p.String()))
		}
	}
	if len(wrong) > 0 {
		return nil, nil, &ManifestError{path, errors.Join(wrong...)}
	}
	return m, warnings, nil
}

// check reads the artifact once for its digest, and looks what it is.
func (p *Plugin) check(ctx context.Context) error {
	info, err := p.file.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("opening artifact %s: not a regular file", p.Path)
	}
	sum, err := digest(ctx, io.NewSectionReader(p.file, 0, info.Size()))
	if err != nil {
		return fmt.Errorf("reading artifact %s: %w", p.Path, err)
	}
	p.Digest = "sha256:" + sum
	if err := p.checkSum(sum); err != nil {
		return err
	}
	head := make([]byte, min(info.Size(), headSize))
	if _, err := p.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading artifact %s: %w", p.Path, err)
	}
	is := mediumOf(head)
	if err := p.agree(is); err != nil {
		return fmt.Errorf("reading artifact %s: %w", p.Path, err)
	}
	if p.Rootfs() {
		p.disk = openDisk(ctx, p.file, info.Size(), formats[is])
		p.Arch = p.disk.arch(ctx, p.Manifest)
		return nil
	}
	a := archive{p.file, info.Size(), is}
	if p.Arch, err = a.arch(ctx, p.Manifest, archiveLimits); err != nil {
		return fmt.Errorf("reading artifact %s: %w", p.Path, err)
	}
	return nil
}

// checkSum compares by the rules of Volant's launcher: the prefix in lower case or
// none, the digits in any. Without a checksum it compares nothing.
func (p *Plugin) checkSum(sum string) error {
	key, checksum := "initramfs.checksum", ""
	switch m := p.Manifest; {
	case m.Rootfs != nil:
		key, checksum = "rootfs.checksum", m.Rootfs.Checksum
	case m.Initramfs != nil:
		checksum = m.Initramfs.Checksum
	}
	if checksum == "" {
		p.Warnings = append(p.Warnings, key+" is missing: Volant will start whatever bytes it finds")
		return nil
	}
	if want := strings.TrimPrefix(checksum, "sha256:"); !strings.EqualFold(want, sum) {
		return fmt.Errorf("checking artifact %s: its sha256 is %s but the manifest's %s is %q, so Volant would not start it; build both again, or name the manifest that belongs to it with --manifest",
			p.Path, sum, key, checksum)
	}
	return nil
}

// agree holds the manifest against what the artifact's bytes are.
func (p *Plugin) agree(is medium) error {
	switch m := p.Manifest; {
	case m.Rootfs != nil && m.Initramfs != nil:
		return errors.New("the manifest has rootfs and initramfs; boot wants one of them")
	case m.Rootfs == nil && m.Initramfs == nil:
		return errors.New("the manifest has neither rootfs nor initramfs")
	case m.Rootfs != nil && is == mediumQcow2:
		return errors.New("it is a qcow2 image; boot takes raw ones only: convert it with qemu-img, and build its manifest for the raw image")
	case m.Rootfs != nil && formats[is] == "":
		return fmt.Errorf("the manifest says rootfs but it is %s; Volant mounts a rootfs as ext4", is)
	case m.Rootfs != nil, is == mediumGzip, is == mediumZstd, is == mediumCpio:
		return nil
	}
	return fmt.Errorf("the manifest says initramfs but it is %s; an initramfs is a cpio archive, plain or compressed by gzip or zstd", is)
}

func digest(ctx context.Context, r io.Reader) (string, error) {
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		switch _, err := io.CopyN(h, r, 4<<20); {
		case errors.Is(err, io.EOF):
			return hex.EncodeToString(h.Sum(nil)), nil
		case err != nil:
			return "", err
		}
	}
}

// A medium is what an artifact's first bytes say it is.
type medium string

const (
	mediumExt4     medium = "an ext filesystem"
	mediumSquashfs medium = "a squashfs"
	mediumXFS      medium = "an xfs filesystem"
	mediumBtrfs    medium = "a btrfs filesystem"
	mediumQcow2    medium = "a qcow2 image"
	mediumGzip     medium = "gzip data"
	mediumZstd     medium = "zstd data"
	mediumCpio     medium = "a cpio archive"
	mediumOther    medium = "none that is known"
)

// Formats that are started in another way than the rest.
const (
	formatExt4     = "ext4"
	formatSquashfs = "squashfs"
)

// formats are what can be a rootfs, as the kernel calls them.
var formats = map[medium]string{mediumExt4: formatExt4, mediumSquashfs: formatSquashfs, mediumXFS: "xfs", mediumBtrfs: "btrfs"}

// headSize is how much of an artifact tells what it is, in bytes: up to the magic
// number of btrfs.
const headSize = 0x10048

func mediumOf(head []byte) medium {
	const superblock = 1024
	switch {
	case len(head) >= superblock+0x3a && head[superblock+0x38] == 0x53 && head[superblock+0x39] == 0xef:
		return mediumExt4 // its first KiB may hold anything, so it is asked first
	case bytes.HasPrefix(head, []byte("hsqs")):
		return mediumSquashfs
	case bytes.HasPrefix(head, []byte("XFSB")):
		return mediumXFS
	case len(head) >= headSize && string(head[headSize-8:headSize]) == "_BHRfS_M":
		return mediumBtrfs
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		return mediumQcow2
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return mediumGzip
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return mediumZstd
	case bytes.HasPrefix(head, []byte("070701")), bytes.HasPrefix(head, []byte("070702")):
		return mediumCpio
	}
	return mediumOther
}
