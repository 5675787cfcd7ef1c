package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
)

// Limits on what is read.
const (
	MaxFile  = 4 << 20 // bytes of a trusted root, a signing config, a .jsonl file
	MaxRoots = 32      // lines of a .jsonl file
)

// A Root is one Sigstore instance: what verifies its bundles, and how to sign with
// it.
type Root struct {
	Material root.TrustedMaterial
	Signing  *root.SigningConfig // nil: no services to sign with are known
	Name     string              // "public-good", "github", or the path of the file, with :LINE if it has several
	JSON     []byte              // the trusted root, as it was read
}

// Line is the root as trusted_root.jsonl has it: on one line that ends. gh takes
// no other form.
func (r *Root) Line() ([]byte, error) {
	var line bytes.Buffer
	if err := json.Compact(&line, r.JSON); err != nil {
		return nil, fmt.Errorf("writing trusted root %s: %w", r.Name, err)
	}
	line.WriteByte('\n')
	return line.Bytes(), nil
}

// Lines is a trusted_root.jsonl with all the roots.
func Lines(roots ...*Root) ([]byte, error) {
	var all []byte
	for _, r := range roots {
		line, err := r.Line()
		if err != nil {
			return nil, err
		}
		all = append(all, line...)
	}
	return all, nil
}

// Usable tells why a certificate that is issued at t could not be verified with
// the root, if it could not.
func (r *Root) Usable(t time.Time) error {
	all := r.Material.FulcioCertificateAuthorities()
	if len(all) == 0 {
		return fmt.Errorf("trusted root %s has no certificate authority: certificates cannot be verified with it", r.Name)
	}
	var ended, begins time.Time
	for _, authority := range all {
		ca, ok := authority.(*root.FulcioCertificateAuthority)
		if !ok {
			return nil
		}
		start, end := ca.ValidityPeriodStart, ca.ValidityPeriodEnd
		if ca.Root != nil && (end.IsZero() || ca.Root.NotAfter.Before(end)) {
			end = ca.Root.NotAfter
		}
		switch {
		case t.After(end):
			ended = latest(ended, end)
		case t.Before(start):
			begins = latest(begins, start)
		default:
			return nil
		}
	}
	if ended.IsZero() {
		return fmt.Errorf("trusted root %s is not valid before %s: check this machine's clock", r.Name, begins.Format(time.DateOnly))
	}
	return fmt.Errorf("trusted root %s is expired: its last certificate authority ended on %s; get a newer one", r.Name, ended.Format(time.DateOnly))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// File reads a trusted root of its own, and a signing config unless its path is
// empty. A .jsonl file must have one line.
func File(trustedRoot, signingConfig string) (*Root, error) {
	all, err := Files(trustedRoot)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		return nil, fmt.Errorf("reading trusted root %q: %d roots in one file, want the one to sign with", trustedRoot, len(all))
	}
	r := all[0]
	if signingConfig == "" {
		return r, nil
	}
	data, err := read(signingConfig)
	if err == nil {
		r.Signing, err = parseSigning(data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading signing config %q: %w", signingConfig, err)
	}
	return r, nil
}

// Files reads the trusted roots of a file: one of a .json, one or more of a
// .jsonl, where empty lines do not count. They stay apart, since each has rules of its own:
// one with a log asks for an entry in it.
func Files(path string) ([]*Root, error) {
	data, err := read(path)
	var all []*Root
	if err == nil {
		all, err = parseFile(path, data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading trusted root %q: %w", path, err)
	}
	return all, nil
}

func parseFile(path string, data []byte) ([]*Root, error) {
	if !strings.EqualFold(filepath.Ext(path), ".jsonl") {
		r, err := parse(path, data)
		if err != nil {
			return nil, err
		}
		return []*Root{r}, nil
	}
	var all []*Root
	number := 0
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		r, err := parse(fmt.Sprintf("%s:%d", path, number), line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if all = append(all, r); len(all) > MaxRoots {
			return nil, fmt.Errorf("more than %d roots", MaxRoots)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("the file is empty")
	}
	return all, nil
}

// parse reads one trusted root.
func parse(name string, data []byte) (*Root, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := mediaType(data, root.TrustedRootMediaType01, "trusted root"); err != nil {
		return nil, err
	}
	material, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("not a trusted root: %w", err)
	}
	if len(material.FulcioCertificateAuthorities())+len(material.RekorLogs())+len(material.TimestampingAuthorities()) == 0 {
		return nil, errors.New("no certificate authority, log or timestamp authority in it: nothing can be verified with it")
	}
	return &Root{Material: material, Name: name, JSON: data}, nil
}

func parseSigning(data []byte) (*root.SigningConfig, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := mediaType(data, root.SigningConfigMediaType02, "signing config"); err != nil {
		return nil, err
	}
	config, err := root.NewSigningConfigProtobuf(data)
	switch {
	case err != nil:
		return nil, fmt.Errorf("not a signing config: %w", err)
	// sigstore-go reads these without asking whether they are there.
	case len(config.GetRekorTlogUrls()) > 0 && config.GetRekorTlogConfig() == nil:
		return nil, errors.New("rekorTlogUrls without rekorTlogConfig: say how many of the logs to use")
	case len(config.GetTsaUrls()) > 0 && config.GetTsaConfig() == nil:
		return nil, errors.New("tsaUrls without tsaConfig: say how many of the timestamp authorities to use")
	}
	return root.NewSigningConfigFromProtobuf(config)
}

// mediaType tells a file that was given in the place of another.
func mediaType(data []byte, want, kind string) error {
	var file struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if file.MediaType != want {
		return fmt.Errorf("not a %s: mediaType is %.100q, want %q", kind, file.MediaType, want)
	}
	return nil
}

// read reads a file of at most MaxFile bytes.
func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err // the caller names the path
		}
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("larger than %d bytes", MaxFile)
	}
	return data, nil
}
