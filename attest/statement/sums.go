package statement

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxSums is the longest SHA256SUMS that is read, in bytes. It may have
// MaxSubjects lines.
const MaxSums = 1 << 20

// nameEscapes is how sha256sum(1) writes names that would break a line. A line
// with such a name begins with a backslash.
var (
	nameEscapes   = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)
	nameUnescapes = map[byte]byte{'\\': '\\', 'n': '\n', 'r': '\r'}
)

// Sums writes subjects as sha256sum(1) does, sorted by name. They must be as
// [Subject] says.
func Sums(subjects []Subject) []byte {
	var b bytes.Buffer
	byName := func(a, b Subject) int { return cmp.Compare(a.Name, b.Name) }
	for _, s := range slices.SortedStableFunc(slices.Values(subjects), byName) {
		name := nameEscapes.Replace(s.Name)
		if name != s.Name {
			b.WriteByte('\\')
		}
		b.WriteString(s.SHA256() + "  " + name + "\n")
	}
	return b.Bytes()
}

// ParseSums reads what [Sums] or sha256sum(1) writes, and returns the subjects
// sorted by name. Names must be base names of files. An error tells the line.
func ParseSums(data []byte) ([]Subject, error) {
	if len(data) > MaxSums {
		return nil, fmt.Errorf("reading checksums: %d bytes, more than the limit of %d", len(data), MaxSums)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("reading checksums: not UTF-8")
	}
	var subjects []Subject
	number := 0
	for line := range strings.Lines(string(data)) {
		if number++; number > MaxSubjects {
			return nil, fmt.Errorf("reading checksums: more than the limit of %d lines", MaxSubjects)
		}
		s, err := parseSum(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("reading checksums: line %d: %w", number, err)
		}
		subjects = append(subjects, s)
	}
	subjects, err := normalise(subjects)
	if err != nil {
		return nil, fmt.Errorf("reading checksums: %w", err)
	}
	return subjects, nil
}

func parseSum(line string) (Subject, error) {
	line, escaped := strings.CutPrefix(line, `\`)
	digest, name, found := strings.Cut(line, " ")
	if !found || name == "" || name[0] != ' ' && name[0] != '*' {
		return Subject{}, fmt.Errorf("%.100q is not a digest, two blanks and a name", line)
	}
	name = name[1:]
	if escaped {
		var err error
		if name, err = unescape(name); err != nil {
			return Subject{}, err
		}
	}
	s := Subject{Name: name, Digest: map[string]string{algorithm: strings.ToLower(digest)}}
	return s, s.check()
}

func unescape(name string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '\\' {
			i++
			if i == len(name) {
				return "", fmt.Errorf("name %.100q ends in a backslash", name)
			}
			known := false
			if c, known = nameUnescapes[name[i]]; !known {
				return "", fmt.Errorf("name %.100q: unknown escape \\%c", name, name[i])
			}
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}
