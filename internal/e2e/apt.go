package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Mirror is where the machine gets its own release from.
type Mirror struct {
	URL        string
	Suite      string   // codename of the release
	Components []string // of which at least main
	Keyring    string   // file, "" for debootstrap's default
	Trusted    bool     // apt is told not to check signatures
}

// FindMirror reads the apt configuration below etc, which is /etc but in tests. It returns the
// first source of binary packages for the machine's release with the component main.
func FindMirror(etc string) (Mirror, error) {
	suite, err := codename(filepath.Join(etc, "os-release"))
	if err != nil {
		return Mirror{}, fmt.Errorf("finding the release: %w", err)
	}
	sources, err := readSources(filepath.Join(etc, "apt"))
	if err != nil {
		return Mirror{}, fmt.Errorf("reading apt sources: %w", err)
	}
	for _, s := range sources {
		if !slices.Contains(s.suites, suite) || !slices.Contains(s.components, "main") {
			continue
		}
		for _, uri := range s.uris {
			uri, err := followMirrorFile(uri)
			if err != nil {
				return Mirror{}, err
			}
			if strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://") || strings.HasPrefix(uri, "file:/") {
				return Mirror{URL: uri, Suite: suite, Components: s.components, Keyring: s.keyring, Trusted: s.trusted}, nil
			}
		}
	}
	return Mirror{}, fmt.Errorf("no apt source for %q with component main below %q", suite, etc)
}

func codename(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "VERSION_CODENAME="); ok {
			return strings.Trim(v, `"'`), nil
		}
	}
	return "", fmt.Errorf("%s has no VERSION_CODENAME", file)
}

// aptSource is one entry of sources.list(5).
type aptSource struct {
	uris, suites, components []string
	keyring                  string
	trusted                  bool
}

func readSources(dir string) ([]aptSource, error) {
	files := []string{filepath.Join(dir, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		found, err := filepath.Glob(filepath.Join(dir, "sources.list.d", pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	var all []aptSource
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if strings.HasSuffix(file, ".sources") {
			all = append(all, parseDeb822(string(data))...)
		} else {
			all = append(all, parseOneLine(string(data))...)
		}
	}
	return all, nil
}

// parseOneLine reads lines such as "deb [signed-by=/key] URL suite main contrib".
func parseOneLine(text string) []aptSource {
	var all []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
		if !ok {
			continue
		}
		var s aptSource
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, after, _ := strings.Cut(rest[1:], "]")
			rest = after
			for o := range strings.FieldsSeq(options) {
				key, value, _ := strings.Cut(o, "=")
				s.option(key, value)
			}
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue
		}
		s.uris, s.suites, s.components = fields[:1], fields[1:2], fields[2:]
		all = append(all, s)
	}
	return all
}

// parseDeb822 reads stanzas of "Key: value" separated by empty lines.
func parseDeb822(text string) []aptSource {
	var all []aptSource
	for stanza := range strings.SplitSeq(strings.ReplaceAll(text, "\r", ""), "\n\n") {
		var s aptSource
		binary, enabled := false, true
		for line := range strings.Lines(stanza) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), ":")
			if !ok || strings.HasPrefix(line, "#") || strings.HasPrefix(line, " ") {
				continue
			}
			fields := strings.Fields(value)
			switch strings.ToLower(key) {
			case "types":
				binary = slices.Contains(fields, "deb")
			case "enabled":
				enabled = !slices.Contains(fields, "no")
			case "uris":
				s.uris = fields
			case "suites":
				s.suites = fields
			case "components":
				s.components = fields
			default:
				s.option(key, strings.TrimSpace(value))
			}
		}
		if binary && enabled {
			all = append(all, s)
		}
	}
	return all
}

func (s *aptSource) option(key, value string) {
	switch strings.ToLower(key) {
	case "signed-by":
		// A key may also stand there itself; then debootstrap's default has to do.
		if strings.HasPrefix(value, "/") {
			s.keyring = value
		}
	case "trusted":
		s.trusted = value == "yes"
	}
}

// followMirrorFile returns the first URL listed in the file that a mirror+file: URI
// names, and any other URI as it is.
func followMirrorFile(uri string) (string, error) {
	path, ok := strings.CutPrefix(uri, "mirror+file:")
	if !ok {
		return uri, nil
	}
	f, err := os.Open("/" + strings.TrimLeft(path, "/"))
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 && !strings.HasPrefix(fields[0], "#") {
			return fields[0], nil
		}
	}
	return "", fmt.Errorf("no mirror in %q: %w", path, lines.Err())
}

// aptProxy returns the proxy that apt uses for plain HTTP, "" for none.
func aptProxy(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "apt-config", "shell", "proxy", "Acquire::http::Proxy").Output()
	if err != nil {
		return ""
	}
	_, value, _ := strings.Cut(strings.TrimSpace(string(out)), "=")
	return strings.Trim(value, "'")
}
