package runnertest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// A pair is a name and its value in a file of GITHUB_OUTPUT and its like.
type pair struct{ name, value string }

// readPairs reads "name=value" lines, and values of several lines between a delimiter:
//
//	name<<delimiter
//	value
//	delimiter
//
// Pairs in front of a mistake are returned with it: the runner has set them by then.
func readPairs(text string) ([]pair, error) {
	var pairs []pair
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if line == "" {
			continue
		}
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			pairs = append(pairs, pair{line[:equals], line[equals+1:]})
		case heredoc >= 0:
			name, delimiter := line[:heredoc], line[heredoc+2:]
			if name == "" || delimiter == "" {
				return pairs, fmt.Errorf("invalid format %q: name and delimiter must not be empty", line)
			}
			value, rest, err := cutDelimited(text, delimiter)
			if err != nil {
				return pairs, err
			}
			pairs, text = append(pairs, pair{name, value}), rest
		default:
			return pairs, fmt.Errorf("invalid format %q", line)
		}
	}
	return pairs, nil
}

// cutDelimited cuts the text at the first line that is the delimiter.
func cutDelimited(text, delimiter string) (value, rest string, err error) {
	var lines []string
	for text != "" {
		line, after, ended := strings.Cut(text, "\n")
		if line == delimiter {
			return strings.Join(lines, "\n"), after, nil
		}
		if !ended {
			break
		}
		lines, text = append(lines, line), after
	}
	return "", "", fmt.Errorf("invalid value: matching delimiter %q not found", delimiter)
}

// Limits of the runner.
const (
	maxSummary   = 1 << 20 // bytes of a step's summary
	maxArtifacts = 1 << 20 // bytes of the file of GITHUB_ARTIFACTS
	maxSubjects  = 500     // of a job
)

// A Subject is a line of GITHUB_ARTIFACTS: what actions/attest signs without being told.
type Subject struct {
	Name   string // base name of a file, or an OCI reference
	Digest string // "sha256:…"
}

var (
	scheme    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.\-]*://`)
	ociDigest = regexp.MustCompile(`^(.+)@(sha256:[0-9a-fA-F]{64}|sha384:[0-9a-fA-F]{96}|sha512:[0-9a-fA-F]{128})$`)
)

// readSubjects reads the file of GITHUB_ARTIFACTS. Paths are relative to the workspace;
// an absolute one is never right in a container action.
func readSubjects(text, workspace string) ([]Subject, error) {
	if len(text) > maxArtifacts {
		return nil, fmt.Errorf("the file has %d bytes, of at most %d", len(text), maxArtifacts)
	}
	var subjects []Subject
	digests := map[string]string{}
	for i, line := range splitLines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := readSubject(line, workspace)
		if known, ok := digests[s.Name]; err == nil && ok && known != s.Digest {
			err = fmt.Errorf("%q has two digests, %s and %s", s.Name, known, s.Digest)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		if digests[s.Name] == "" {
			subjects = append(subjects, s)
		}
		digests[s.Name] = s.Digest
	}
	if len(subjects) > maxSubjects {
		return nil, fmt.Errorf("%d artifacts, of at most %d", len(subjects), maxSubjects)
	}
	return subjects, nil
}

func readSubject(line, workspace string) (Subject, error) {
	if strings.Contains(line, "=") {
		return Subject{}, errors.New("entries with '=' are reserved")
	}
	lower := strings.ToLower(line)
	isOCI, isFile := strings.HasPrefix(lower, "oci://"), strings.HasPrefix(lower, "file://")
	switch {
	case isOCI:
		line = line[len("oci://"):]
	case isFile:
		line = line[len("file://"):]
	case scheme.MatchString(line):
		return Subject{}, errors.New("unsupported URI scheme")
	}
	if match := ociDigest.FindStringSubmatch(line); match != nil && !isFile {
		return Subject{match[1], strings.ToLower(match[2])}, nil
	}
	switch {
	case isOCI:
		return Subject{}, errors.New("oci:// entries must have a digest")
	case strings.TrimSpace(line) == "":
		return Subject{}, errors.New("file:// entries must have a path")
	case filepath.IsAbs(line):
		return Subject{}, fmt.Errorf("absolute path %q is not inside a volume of the container", line)
	}
	file := filepath.Join(workspace, line)
	if info, err := os.Stat(file); err != nil {
		return Subject{}, err
	} else if !info.Mode().IsRegular() {
		return Subject{}, fmt.Errorf("%q is not a regular file", line)
	}
	f, err := os.Open(file)
	if err != nil {
		return Subject{}, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return Subject{}, err
	}
	return Subject{filepath.Base(file), "sha256:" + hex.EncodeToString(sum.Sum(nil))}, nil
}

// splitLines splits a text as .NET's readers do: at \n, \r and \r\n. A line that is not
// ended is one too.
func splitLines(text string) []string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}
