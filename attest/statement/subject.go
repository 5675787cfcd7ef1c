package statement

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// algorithm is that of our subjects' digests.
const algorithm = "sha256"

// maxName is the longest name of a file, in bytes.
const maxName = 255

// A Subject is a file. In what fledge writes, Name is a file's base name and Digest
// has exactly one entry, "sha256", of 64 lower-case hex digits.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// SHA256 is the subject's digest in hex, "" if it has none.
func (s Subject) SHA256() string { return s.Digest[algorithm] }

// Digest reads r to its end and returns it as the subject of that base file name.
// It needs the same memory for files of any size.
func Digest(ctx context.Context, name string, r io.Reader) (Subject, error) {
	if err := checkName(name); err != nil {
		return Subject{}, fmt.Errorf("reading for a digest: %w", err)
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, &ctxReader{ctx, r}, make([]byte, 256<<10)); err != nil {
		return Subject{}, fmt.Errorf("reading %s for its digest: %w", name, err)
	}
	return Subject{Name: name, Digest: map[string]string{algorithm: hex.EncodeToString(h.Sum(nil))}}, nil
}

// ctxReader ends when its context does. It also hides what else r can do, so that
// the buffer is used.
type ctxReader struct {
	ctx context.Context // lives as long as one Digest
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (s Subject) check() error {
	if err := checkName(s.Name); err != nil {
		return err
	}
	if len(s.Digest) != 1 || !isHex(s.Digest[algorithm], 2*sha256.Size) {
		return fmt.Errorf("subject %q: want one digest, a sha256 of 64 lower-case hex digits, not %v", s.Name, s.Digest)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || !utf8.ValidString(name):
		return fmt.Errorf("subject %q: want the base name of a file, in UTF-8", name)
	case len(name) > maxName:
		return fmt.Errorf("subject %.20q…: name of %d bytes, more than the limit of %d", name, len(name), maxName)
	}
	return nil
}

// maxDigests is how many digests one resource may have; sigstore's verifiers have
// the same limit.
const maxDigests = 32

// checkDigests checks what another tool or a caller gives as the digests of one
// resource.
func checkDigests(digests map[string]string) error {
	if len(digests) == 0 {
		return errors.New("no digest")
	}
	if len(digests) > maxDigests {
		return fmt.Errorf("%d digests, more than the limit of %d", len(digests), maxDigests)
	}
	for name, value := range digests {
		if n, known := hexDigits[name]; known && !isHex(value, n) {
			return fmt.Errorf("%s %q is not %d lower-case hex digits", name, value, n)
		}
		if name == "" || value == "" {
			return fmt.Errorf("digest %q is %q", name, value)
		}
	}
	return nil
}

// hexDigits is how long the usual digests are.
var hexDigits = map[string]int{"sha1": 40, "sha256": 64, "sha384": 96, "sha512": 128}

func isHex(s string, digits int) bool {
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}
