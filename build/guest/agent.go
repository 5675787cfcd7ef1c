package guest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/mapping/hostfile"
	"github.com/volant/fledge-action/build/tree"
)

// Strategy says where the agent comes from.
type Strategy string

// The strategies, in the words of fledge.toml.
const (
	Release Strategy = "release"
	Local   Strategy = "local"
	HTTP    Strategy = "http"
	None    Strategy = "none"
)

// MaxAgent is the largest agent accepted, in bytes.
const MaxAgent = 256 << 20

// Request is the [agent] table and what is needed to act on it.
type Request struct {
	Strategy Strategy // "" means Release
	Version  string   // Release: a tag with or without "v", or "latest", which "" means too
	Path     string   // Local: relative to Root
	URL      string   // HTTP
	SHA256   string   // 64 hex digits, with or without "sha256:"; HTTP needs it, for the others it is one check more
	Pinned   string   // what says SHA256, for messages; "" means "[agent] checksum"

	Arch    string        // of the platform, in Go's and OCI's words: "amd64", "arm64"
	BaseURL string        // of the GitHub API; "" means https://api.github.com
	Token   string        // for the API; sent to BaseURL's host only; "" for none
	Root    *os.Root      // the project folder, for Local; stays open while Content is used
	Fetch   *fetch.Client // for Release and HTTP
}

// Agent is a resolved agent. Its zero value is no agent.
type Agent struct {
	Version  string       // the release's tag; "" for Local and HTTP
	Digest   string       // "sha256:" and hex
	URI      string       // where it came from, without credentials: for the provenance
	Content  tree.Content // nil for None
	Warnings []string
}

// Resolve finds the agent that r asks for and verifies it.
func Resolve(ctx context.Context, r Request) (Agent, error) {
	if r.Strategy == None {
		return Agent{}, nil
	}
	if _, ok := machines[r.Arch]; !ok {
		return Agent{}, fmt.Errorf("resolving agent: no agent runs on architecture %q, only on amd64 and arm64", r.Arch)
	}
	var a Agent
	var err error
	switch cmp.Or(r.Strategy, Release) {
	case Release:
		a, err = resolveRelease(ctx, r)
	case Local:
		a, err = resolveLocal(ctx, r)
	case HTTP:
		a, err = resolveHTTP(ctx, r)
	default:
		err = fmt.Errorf("unknown source_strategy %q; use release, local, http or none", r.Strategy)
	}
	if err != nil {
		return Agent{}, fmt.Errorf("resolving agent: %w", err)
	}
	interp, err := checkELF(a.Content, r.Arch)
	if err != nil {
		return Agent{}, fmt.Errorf("checking agent %s: %w", a.URI, err)
	}
	if interp != "" {
		a.Warnings = append(a.Warnings, fmt.Sprintf("the agent is not static: it needs %s and its libraries in the image; build it with CGO_ENABLED=0", interp))
	}
	return a, nil
}

// resolveLocal takes the agent from the project folder.
func resolveLocal(ctx context.Context, r Request) (Agent, error) {
	f, err := readProject(ctx, r.Root, r.Path, MaxAgent)
	if err != nil {
		return Agent{}, err
	}
	if pin := pinned(r); pin != "" && "sha256:"+pin != f.Digest {
		return Agent{}, fmt.Errorf("checking %q: %w: %s is %s but the file has %s", r.Path, ErrChanged, r.pinnedBy(), pin, strings.TrimPrefix(f.Digest, "sha256:"))
	}
	return Agent{Digest: f.Digest, URI: f.URI, Content: f.Content}, nil
}

// readProject reads a file of the project folder once, for its digest; later reads
// yield the same bytes or fail.
func readProject(ctx context.Context, root *os.Root, path string, most int64) (File, error) {
	name, err := hostfile.Clean(path)
	if err != nil {
		return File{}, fmt.Errorf("checking path %q: %w", path, err)
	}
	at, err := hostfile.Resolve(root, name)
	if err != nil {
		return File{}, err
	}
	file, err := hostfile.Stat(root, at)
	if err != nil {
		return File{}, err
	}
	if file.Size() > most {
		return File{}, fmt.Errorf("reading %q: it has %d bytes, the limit is %d", at, file.Size(), most)
	}
	sum, err := sumOf(ctx, file)
	if err != nil {
		return File{}, err
	}
	return File{Digest: fmt.Sprintf("sha256:%x", sum), URI: uriOf(name), Content: file.Pinned(sum)}, nil
}

// Errors that callers tell apart.
var (
	ErrChanged = errors.New("not what is expected") // the bytes have another sha256 than they must have
	ErrNoTag   = errors.New("no such tag")
)

func (r Request) pinnedBy() string { return cmp.Or(r.Pinned, "[agent] checksum") }

// pinned is the checksum that the user gave, as lower-case hex.
func pinned(r Request) string {
	return strings.ToLower(strings.TrimPrefix(r.SHA256, "sha256:"))
}

func sumOf(ctx context.Context, c tree.Content) (sum [sha256.Size]byte, err error) {
	f, err := c.Open()
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		switch _, err := io.CopyN(h, f, 1<<20); {
		case errors.Is(err, io.EOF):
			return [sha256.Size]byte(h.Sum(nil)), nil
		case err != nil:
			return sum, err
		}
	}
}

// resolveHTTP takes the agent from a URL with a known digest.
func resolveHTTP(ctx context.Context, r Request) (Agent, error) {
	if r.SHA256 == "" {
		return Agent{}, errors.New("checking checksum: it is empty; an agent from a URL needs the sha256 it must have, for it runs as root in every VM")
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" {
		return Agent{}, fmt.Errorf("checking url: %q is no URL with a host", r.URL)
	}
	content, err := r.Fetch.File(ctx, fetch.Request{URL: r.URL, SHA256: r.SHA256, Max: MaxAgent})
	if err != nil {
		return Agent{}, err
	}
	return Agent{Digest: content.Digest(), URI: fetch.Redact(u), Content: content}, nil
}
