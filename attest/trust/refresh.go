package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/sigstore/sigstore-go/pkg/tuf"
)

// Refresh renews the copies that are compiled in: it follows TUF from the TUF roots
// below dir, which is this package's embedded folder, writes the files that differ and
// their digests in README.md, and names them. On error files may be renewed in
// part.
func Refresh(ctx context.Context, dir string, o Options) (renewed []string, err error) {
	return refresh(ctx, dir, o, publicGood, github)
}

func refresh(ctx context.Context, dir string, o Options, all ...instance) (renewed []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	for _, in := range all {
		files, err := in.newest(ctx, o)
		if err != nil {
			return renewed, fmt.Errorf("refreshing the trusted root of %s: %w", in.name, err)
		}
		for _, name := range in.names() {
			file := path.Join(in.name, name)
			changed, err := renew(root, file, files[name])
			if err != nil {
				return renewed, fmt.Errorf("renewing %s: %w", file, err)
			}
			if changed {
				renewed = append(renewed, file)
			}
		}
	}
	return renewed, nil
}

// names are the files of an instance that TUF gives.
func (in instance) names() []string {
	names := []string{tufRoot, trustedRoot}
	if !in.ownConfig {
		names = append(names, in.signing, in.signingV2)
	}
	return names
}

// newest gets the files of an instance, and reads them once.
func (in instance) newest(ctx context.Context, o Options) (map[string][]byte, error) {
	cache, err := os.MkdirTemp("", "fledge-trust-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(cache) }()
	o.CacheDir, o.Offline = cache, false
	files := map[string][]byte{}
	from := in.tuf(ctx, o)
	for _, name := range in.names()[1:] {
		if files[name], err = from(name); err != nil {
			return nil, err
		}
	}
	for _, signing := range []string{in.signing, in.signingV2} {
		if signing != "" {
			if _, err := in.load(from, signing); err != nil {
				return nil, err
			}
		}
	}
	files[tufRoot], err = os.ReadFile(filepath.Join(cache, tuf.URLToPath(in.url), "root.json"))
	return files, err
}

// renew writes a file and its digest in README.md, unless it is the same.
func renew(root *os.Root, name string, data []byte) (bool, error) {
	old, err := root.ReadFile(name)
	if err != nil || bytes.Equal(old, data) {
		return false, err
	}
	readme, err := root.ReadFile("README.md")
	if err != nil {
		return false, err
	}
	before, after := sha256.Sum256(old), sha256.Sum256(data)
	readme = bytes.ReplaceAll(readme, []byte(hex.EncodeToString(before[:])), []byte(hex.EncodeToString(after[:])))
	if err := root.WriteFile(name, data, 0o644); err != nil {
		return false, err
	}
	return true, root.WriteFile("README.md", readme, 0o644)
}
