package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
)

// AnySize stands for a size that is not known beforehand.
const AnySize int64 = -1

const algorithm = "sha256:"

// ErrMismatch is wrapped by every [MismatchError].
var ErrMismatch = errors.New("content does not match its digest")

// A MismatchError reports content that is not what its digest and size promise.
type MismatchError struct {
	Digest string // wanted
	Size   int64  // wanted; AnySize when it was not known
	Got    string // digest of what was read, "" when reading stopped at a wrong size
	Read   int64  // bytes read
}

func (e *MismatchError) Error() string {
	switch {
	case e.Got != "":
		return fmt.Sprintf("content is %s, wanted %s", e.Got, e.Digest)
	case e.Read > e.Size:
		return fmt.Sprintf("content of %s is longer than its %d bytes", e.Digest, e.Size)
	default:
		return fmt.Sprintf("content of %s ends after %d of %d bytes", e.Digest, e.Read, e.Size)
	}
}

// Unwrap makes errors.Is(err, ErrMismatch) true.
func (e *MismatchError) Unwrap() error { return ErrMismatch }

// Hex returns the 64 hex digits of a digest "sha256:<hex>". Upper case, other
// algorithms and other lengths are refused.
func Hex(digest string) (string, error) {
	digits, ok := strings.CutPrefix(digest, algorithm)
	if !ok {
		return "", fmt.Errorf("reading digest %q: only sha256:<64 hex digits> is supported", digest)
	}
	if len(digits) != hex.EncodedLen(sha256.Size) || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("reading digest %q: want 64 lower-case hex digits", digest)
	}
	return digits, nil
}

// DigestOf returns "sha256:<hex>" of what h has been given.
func DigestOf(h hash.Hash) string { return algorithm + hex.EncodeToString(h.Sum(nil)) }

// Verify returns a reader of r that ends with io.EOF only if the whole of r had
// this digest and, unless it is AnySize, this size; otherwise it ends with a
// [*MismatchError]. It never hands out a byte past size. What it handed out is
// not to be trusted before io.EOF.
func Verify(r io.Reader, digest string, size int64) (io.Reader, error) {
	if _, err := Hex(digest); err != nil {
		return nil, err
	}
	return &verifier{r: r, hash: sha256.New(), digest: digest, size: size}, nil
}

type verifier struct {
	r      io.Reader
	hash   hash.Hash
	digest string
	size   int64
	read   int64
	err    error // sticky
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if v.size >= 0 && int64(len(p)) > v.size-v.read+1 {
		p = p[:v.size-v.read+1] // one more byte than allowed tells a long stream
	}
	n, err := v.r.Read(p)
	v.read += int64(n)
	if v.size >= 0 && v.read > v.size {
		n--
		err = &MismatchError{Digest: v.digest, Size: v.size, Read: v.read}
	}
	v.hash.Write(p[:n])
	if err == io.EOF {
		err = check(v.hash, v.digest, v.size, v.read)
		if err == nil {
			err = io.EOF
		}
	}
	v.err = err
	return n, err
}

// check compares what was hashed with what was promised.
func check(h hash.Hash, digest string, size, read int64) error {
	if size >= 0 && read != size {
		return &MismatchError{Digest: digest, Size: size, Read: read}
	}
	if got := DigestOf(h); got != digest {
		return &MismatchError{Digest: digest, Size: size, Got: got, Read: read}
	}
	return nil
}
