package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/volant/fledge-action/build/cache"
)

const (
	maxArchiveEntries = 20_000
	maxEntryName      = 1024 // bytes
	maxEntryLinks     = 8    // followed one after the other
)

// An archive is a tar whose files are read where they lie.
type archive struct {
	tar     io.ReaderAt
	entries map[string]archiveEntry
	closer  io.Closer
}

type archiveEntry struct {
	offset, size int64
	link         string // for a link: the name it stands for
}

// openArchive indexes a tar on disk. A compressed one is first spooled.
func openArchive(ctx context.Context, file string, o Options) (*archive, error) {
	info, err := os.Stat(file) // the user named this file: a link to it is meant
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(contextReader{ctx, f})
	head, err := in.Peek(magicLen)
	if err != nil && err != io.EOF {
		return nil, errors.Join(err, f.Close())
	}
	if compression(head) != "" {
		spool, err := spoolArchive(in, o)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		f = spool
	}
	return newArchive(f)
}

// spoolArchive copies an archive, decompressed, to a temporary file.
func spoolArchive(in io.Reader, o Options) (*os.File, error) {
	raw, err := decompressor(bufio.NewReader(in))
	if err != nil {
		return nil, err
	}
	if z, ok := raw.(interface{ Close() }); ok { // a zstd decoder
		defer z.Close()
	}
	spool, err := cache.Spool(o.TempDir)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(spool, io.LimitReader(raw, o.MaxLayerBytes+1))
	if err == nil && n > o.MaxLayerBytes {
		err = fmt.Errorf("archive is larger than the limit of %d bytes", o.MaxLayerBytes)
	}
	if err != nil {
		return nil, errors.Join(err, spool.Close())
	}
	return spool, nil
}

// contextReader ends a long copy when its context does.
type contextReader struct {
	ctx context.Context // lives for one copy
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// newArchive indexes an open tar and closes it if it cannot.
func newArchive(f *os.File) (*archive, error) {
	_, err := f.Seek(0, io.SeekStart) // a spool is at its end
	var entries map[string]archiveEntry
	if err == nil {
		entries, err = indexArchive(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading archive: %w", err), f.Close())
	}
	return &archive{tar: f, entries: entries, closer: f}, nil
}

// indexArchive notes where each file of a tar begins, in one pass that skips the
// contents. Of two entries with one name the later counts, as it does for tar
// itself.
func indexArchive(f io.ReadSeeker) (map[string]archiveEntry, error) {
	entries := map[string]archiveEntry{}
	r := tar.NewReader(f) // reads whole headers only, so f's offset tells where contents begin
	for n := 0; ; n++ {
		hdr, err := r.Next()
		if err == io.EOF {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if n == maxArchiveEntries {
			return nil, fmt.Errorf("more than the limit of %d entries", maxArchiveEntries)
		}
		if len(hdr.Name) > maxEntryName || len(hdr.Linkname) > maxEntryName {
			return nil, fmt.Errorf("entry name of more than the limit of %d bytes", maxEntryName)
		}
		offset, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		file := path.Clean("/" + hdr.Name)[1:]
		switch hdr.Typeflag {
		case tar.TypeReg:
			if sparse(hdr) {
				return nil, fmt.Errorf("entry %q is sparse, which is not supported", hdr.Name)
			}
			entries[file] = archiveEntry{offset: offset, size: hdr.Size}
		case tar.TypeGNUSparse:
			return nil, fmt.Errorf("entry %q is sparse, which is not supported", hdr.Name)
		case tar.TypeSymlink: // relative to its own directory
			entries[file] = archiveEntry{link: path.Join("/", path.Dir(file), hdr.Linkname)[1:]}
		case tar.TypeLink: // relative to the archive
			entries[file] = archiveEntry{link: path.Join("/", hdr.Linkname)[1:]}
		}
	}
}

// sparse tells PAX's sparse files, whose size is not that of their bytes.
func sparse(hdr *tar.Header) bool {
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// find follows links to the entry of a name.
func (a *archive) find(file string) (archiveEntry, error) {
	for range maxEntryLinks {
		e, ok := a.entries[path.Clean("/" + file)[1:]]
		if !ok {
			return e, fmt.Errorf("opening %q in the archive: %w", file, fs.ErrNotExist)
		}
		if e.link == "" {
			return e, nil
		}
		file = e.link
	}
	return archiveEntry{}, fmt.Errorf("opening %q in the archive: more than %d links", file, maxEntryLinks)
}

func (a *archive) open(name string) (file, error) {
	e, err := a.find(name)
	if err != nil {
		return file{}, err
	}
	return file{Reader: io.NewSectionReader(a.tar, e.offset, e.size), Closer: io.NopCloser(nil), size: e.size}, nil
}

func (a *archive) close() error { return a.closer.Close() }

func openOCIArchive(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	a, err := openArchive(ctx, hostPath(o.Dir, r.path), o)
	if err != nil {
		return nil, archiveError(r, err)
	}
	return fromLayout(ctx, &layout{files: a}, r, want, o)
}

func openDockerArchive(ctx context.Context, r Reference, want Platform, o Options) (*Image, error) {
	a, err := openArchive(ctx, hostPath(o.Dir, r.path), o)
	if err != nil {
		return nil, archiveError(r, err)
	}
	return fromDockerArchive(a, r.selector, want, o)
}

func archiveError(r Reference, err error) error {
	if notExist(err) {
		return fmt.Errorf("%w: no file %q", ErrNotFound, r.path)
	}
	return fmt.Errorf("reading %q: %w", r.path, err)
}

// dockerImage is an entry of manifest.json in what docker save writes.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// fromDockerArchive opens one image of an archive, and closes the archive if it
// cannot.
func fromDockerArchive(a *archive, selector string, want Platform, o Options) (*Image, error) {
	im, err := func() (*Image, error) {
		entry, err := a.selectImage(selector)
		if err != nil {
			return nil, err
		}
		return a.image(entry, want, o)
	}()
	if err != nil {
		_ = a.close()
		return nil, err
	}
	return im, nil
}

func (a *archive) selectImage(selector string) (dockerImage, error) {
	raw, err := readSmall(a, "manifest.json")
	if notExist(err) {
		return dockerImage{}, fmt.Errorf("%w: no manifest.json: not written by docker save (use oci-archive: for an OCI layout)", ErrNotFound)
	}
	if err != nil {
		return dockerImage{}, err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return dockerImage{}, fmt.Errorf("reading manifest.json: %w", err)
	}
	if selector == "" && len(images) == 1 {
		return images[0], nil
	}
	var tags []string
	for _, im := range images {
		for _, tag := range im.RepoTags {
			if selector != "" && sameTag(tag, selector) {
				return im, nil
			}
			tags = append(tags, tag)
		}
	}
	slices.Sort(tags)
	have := strings.Join(nearest(selector, tags), ", ")
	if selector == "" {
		return dockerImage{}, fmt.Errorf("%w: the archive holds %d images; name one with docker-archive:FILE:NAME:TAG: %s", ErrNotFound, len(images), have)
	}
	return dockerImage{}, fmt.Errorf("%w: no image %q in the archive; it has %s", ErrNotFound, selector, have)
}

// sameTag compares two ways to write a name: nginx is docker.io/library/nginx:latest.
func sameTag(a, b string) bool {
	x, errX := name.NewTag(a)
	y, errY := name.NewTag(b)
	return errX == nil && errY == nil && x.Name() == y.Name()
}

// image pairs an entry's config with its layers.
func (a *archive) image(entry dockerImage, want Platform, o Options) (*Image, error) {
	raw, err := readSmall(a, entry.Config)
	if err != nil {
		return nil, fmt.Errorf("reading config: %w", err)
	}
	sum, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	stated := strings.TrimSuffix(path.Base(entry.Config), ".json")
	if _, err := cache.Hex("sha256:" + stated); err == nil && stated != sum.Hex {
		return nil, fmt.Errorf("reading config %q: %w: it is %s", entry.Config, cache.ErrMismatch, sum)
	}
	im, diffIDs, err := fromConfig(raw, want)
	if err != nil {
		return nil, err
	}
	if len(diffIDs) != len(entry.Layers) {
		return nil, fmt.Errorf("reading manifest.json: %d layers, but the config has %d diffIDs", len(entry.Layers), len(diffIDs))
	}
	if len(diffIDs) > MaxLayers {
		return nil, fmt.Errorf("reading manifest.json: %d layers, more than the limit of %d", len(diffIDs), MaxLayers)
	}
	im.ConfigDigest = sum.String()
	im.close = a.close
	for i, file := range entry.Layers {
		layer, err := a.layer(file, diffIDs[i].String(), o.MaxLayerBytes)
		if err != nil {
			return nil, err
		}
		im.Layers = append(im.Layers, layer)
	}
	return im, nil
}

// layer describes one layer by its bytes: docker save says nothing about it.
func (a *archive) layer(name, diffID string, limit int64) (Layer, error) {
	f, err := a.open(name)
	if err != nil {
		return Layer{}, err
	}
	if f.size > limit {
		return Layer{}, fmt.Errorf("layer %q: size %d is not within the limit of %d bytes", name, f.size, limit)
	}
	head := make([]byte, min(magicLen, f.size))
	if _, err := io.ReadFull(f, head); err != nil {
		return Layer{}, fmt.Errorf("reading layer %q: %w", name, err)
	}
	l := Layer{DiffID: diffID, Size: f.size, limit: limit}
	switch compression(head) {
	case "gzip":
		l.MediaType = string(types.OCILayer)
	case "zstd":
		l.MediaType = string(types.OCILayerZStd)
	default:
		l.MediaType = string(types.OCIUncompressedLayer)
		l.Digest = diffID // of the same bytes
	}
	l.blob = func(context.Context) (io.ReadCloser, error) { return a.open(name) }
	return l, nil
}
