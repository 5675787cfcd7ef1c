package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
)

// action is the repository's name, as workflows say it.
const action = "volant/fledge-action"

// moving is what main's reusable workflow says of its version.
const moving = "v1"

const reusable = ".github/workflows/fledge-release.yml"

var (
	imageName   = regexp.MustCompile(`^ghcr\.io/volant/fledge-action@sha256:[0-9a-f]{64}$`)
	versionName = regexp.MustCompile(`^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$`)
	commitName  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	imageLine   = regexp.MustCompile(`^( +image: )(.*)$`)
	usesLine    = regexp.MustCompile(`^( *(?:- )?uses: ` + action + `(?:/[a-z/-]+)?@)(.*)$`)
)

// pinImage makes the action files below root name an image, NAME@sha256:DIGEST.
func pinImage(root *os.Root, image string) error {
	if !imageName.MatchString(image) {
		return fmt.Errorf("image %q: want ghcr.io/%s@sha256: and 64 digits", image, action)
	}
	value := "docker://" + image
	return rewriteAll(root, []rewrite{
		{"action.yml", imageLine, []string{"Dockerfile", value}, value, 1},
		{"verify/action.yml", imageLine, []string{"../Dockerfile", value}, value, 1},
	})
}

// pinUses makes the reusable workflow below root name the action by a commit. The
// version is put behind it as a comment.
func pinUses(root *os.Root, version, commit string) error {
	if !versionName.MatchString(version) {
		return fmt.Errorf("version %q: want vX.Y.Z or vX.Y.Z-PRE", version)
	}
	if !commitName.MatchString(commit) {
		return fmt.Errorf("commit %q: want 40 hexadecimal digits", commit)
	}
	value := commit + " # " + version
	return rewriteAll(root, []rewrite{{reusable, usesLine, []string{moving, value}, value, 0}})
}

// A rewrite changes what follows a prefix on the lines of a file.
type rewrite struct {
	file     string
	line     *regexp.Regexp // prefix, value
	expected []string       // values that a line may have
	value    string         // the value it gets
	count    int            // number of such lines; 0 is any number but none
}

// rewriteAll reads and judges every file before it writes the first.
func rewriteAll(root *os.Root, all []rewrite) error {
	results := make([][]byte, len(all))
	var mistakes []error
	for i, r := range all {
		text, err := root.ReadFile(r.file)
		if err == nil {
			results[i], err = r.apply(text)
		}
		mistakes = append(mistakes, err)
	}
	if err := errors.Join(mistakes...); err != nil {
		return err
	}
	for i, r := range all {
		if err := replace(root, r.file, results[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r rewrite) apply(text []byte) ([]byte, error) {
	var out bytes.Buffer
	found, number := 0, 0
	for line := range strings.Lines(string(text)) {
		number++
		body := strings.TrimSuffix(line, "\n")
		match := r.line.FindStringSubmatch(body)
		if match == nil {
			if code, _, _ := strings.Cut(body, "#"); strings.Contains(code, action) {
				return nil, fmt.Errorf("%s:%d: %q is written in a way that is not known here", r.file, number, body)
			}
			out.WriteString(line)
			continue
		}
		if !slices.Contains(r.expected, match[2]) {
			return nil, fmt.Errorf("%s:%d: %q: want one of %q after %q", r.file, number, body, r.expected, match[1])
		}
		found++
		out.WriteString(match[1] + r.value + line[len(body):])
	}
	if found == 0 || r.count != 0 && found != r.count {
		return nil, fmt.Errorf("%s: %d lines to change, want %d", r.file, found, max(r.count, 1))
	}
	return out.Bytes(), nil
}

// replace leaves a file alone whose bytes are right, and keeps its mode.
func replace(root *os.Root, name string, text []byte) error {
	old, err := root.ReadFile(name)
	if err != nil || bytes.Equal(old, text) {
		return err
	}
	info, err := root.Stat(name)
	if err != nil {
		return err
	}
	return root.WriteFile(name, text, info.Mode().Perm())
}

// notes is the part of a changelog about a version, without its heading. A version
// with a pre-release part takes the part "Unreleased" if it has none of its own.
func notes(root *os.Root, version string) (string, error) {
	if !versionName.MatchString(version) {
		return "", fmt.Errorf("version %q: want vX.Y.Z or vX.Y.Z-PRE", version)
	}
	text, err := root.ReadFile("CHANGELOG.md")
	if err != nil {
		return "", err
	}
	wanted := []string{strings.TrimPrefix(version, "v")}
	if strings.Contains(version, "-") {
		wanted = append(wanted, "Unreleased")
	}
	for _, heading := range wanted {
		if part := section(string(text), heading); part != "" {
			return part, nil
		}
	}
	return "", fmt.Errorf("CHANGELOG.md: %w: no text under \"## [%s]\"; date the release there first", fs.ErrNotExist, wanted[0])
}

func section(text, heading string) string {
	var out strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "## ") {
			inside = strings.HasPrefix(line, "## ["+heading+"]")
			continue
		}
		if inside {
			out.WriteString(line)
		}
	}
	return strings.TrimSpace(out.String())
}
