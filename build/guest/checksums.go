package guest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxChecksums is the longest checksums file accepted, in bytes.
const MaxChecksums = 1 << 20

// findChecksum returns the sha256, in lower-case hex, that a checksums file has
// for name. Its lines are those of sha256sum: 64 hex digits, a space, another
// space or the "*" of binary mode, the name. Empty lines are skipped; any other
// line that is not of this form is an error, since a file that is half
// understood verifies nothing.
func findChecksum(file []byte, name string) (string, error) {
	found := ""
	number := 0
	for line := range bytes.Lines(file) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		sum, of, err := parseChecksum(string(line))
		if err != nil {
			return "", fmt.Errorf("line %d: %w", number, err)
		}
		if of != name {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("line %d: %q is listed a second time", number, name)
		}
		found = sum
	}
	if found == "" {
		return "", fmt.Errorf("%q is not listed", name)
	}
	return found, nil
}

func parseChecksum(line string) (sum, name string, err error) {
	const digits = 64
	if len(line) < digits+3 || line[digits] != ' ' || line[digits+1] != ' ' && line[digits+1] != '*' {
		return "", "", fmt.Errorf("%q is no line of sha256sum", shorten(line, 100))
	}
	sum = strings.ToLower(line[:digits])
	if _, err := hex.DecodeString(sum); err != nil {
		return "", "", fmt.Errorf("%q is no sha256", line[:digits])
	}
	return sum, strings.TrimPrefix(line[digits+2:], "./"), nil
}
