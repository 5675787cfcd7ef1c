package release

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-github/v89/github"
)

// DefaultAPI is GitHub's own.
const DefaultAPI = "https://api.github.com"

// Config says which repository, and with what rights.
type Config struct {
	Repo      string // "owner/name"
	API       string // of GitHub Enterprise, or a test's; "" is DefaultAPI
	Token     string // with what Needs says
	Needs     string // permission that the token is there for, in messages; "" is "contents: write"
	UserAgent string // "" is "fledge"

	Patience Patience
	Report   func(Event) // is told what happens, from the goroutine of the call; may be nil

	// Transport makes the requests; nil has one of its own that respects
	// HTTPS_PROXY and gives up on connections that have gone silent.
	Transport http.RoundTripper
}

// Client talks to the API about one repository. Any number of calls may run at once.
type Client struct {
	owner, repo string
	api         *url.URL
	gh          *github.Client
	plain       *http.Client // for bytes on other hosts: it has no token
	date        atomic.Int64 // the newest time that the server told, in seconds since 1970
	patience    Patience
	report      func(Event) // may be nil
}

var goodRepo = regexp.MustCompile(`^([A-Za-z0-9._-]+)/([A-Za-z0-9._-]+)$`)

// New returns a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	invalid := func(format string, args ...any) error {
		return &Error{Reason: Invalid, What: "checking the release", Why: fmt.Sprintf(format, args...)}
	}
	name := goodRepo.FindStringSubmatch(cfg.Repo)
	if name == nil || strings.Trim(name[1], ".") == "" || strings.Trim(name[2], ".") == "" {
		return nil, invalid("repository %q: want owner/name", cfg.Repo)
	}
	if cfg.Token == "" || strings.ContainsFunc(cfg.Token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, &Error{
			Reason: Unauthorized, What: "checking the release", Why: "there is no token, or one with characters that no token has",
			Do: fmt.Sprintf("set GITHUB_TOKEN to one that has %q for %s", cmp.Or(cfg.Needs, writeContents), cfg.Repo),
		}
	}
	if cfg.API == "" {
		cfg.API = DefaultAPI
	}
	api, err := url.Parse(strings.TrimSuffix(cfg.API, "/") + "/")
	if err != nil || api.Host == "" || api.User != nil || api.RawQuery != "" || api.Fragment != "" || !safe(api) {
		return nil, invalid("API %q: want an https URL", cfg.API)
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "fledge"
	}
	if cfg.Transport == nil {
		cfg.Transport = defaultTransport()
	}
	c := &Client{owner: name[1], repo: name[2], api: api, patience: cfg.Patience, report: cfg.Report}
	base := &limited{base: cfg.Transport, date: &c.date}
	// The token goes to the API and to the release's upload URL. So no redirect is
	// followed: go-github would send the token along, and make a GET of a POST.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.plain = &http.Client{Transport: &limited{base: cfg.Transport}}
	c.gh, err = github.NewClient(
		github.WithHTTPClient(&http.Client{Transport: base, CheckRedirect: stay}),
		github.WithAuthToken(cfg.Token), github.WithUserAgent(cfg.UserAgent), github.WithURLs(github.Ptr(api.String()), nil),
		github.WithDisableRateLimitCheck(), // it uses the machine's clock; judge reads the same headers
	)
	if err != nil {
		return nil, invalid("%v", err)
	}
	return c, nil
}

// defaultTransport bounds the time in which nothing happens, not that of a transfer.
func defaultTransport() http.RoundTripper {
	base, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	t := base.Clone()
	t.ResponseHeaderTimeout = 5 * time.Minute // counted from the end of the request's body
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: time.Minute}
	return t
}

// safe tells whether a token may go to a URL: over TLS, or to this machine.
func safe(u *url.URL) bool {
	ip, err := netip.ParseAddr(u.Hostname())
	local := err == nil && ip.IsLoopback() || u.Hostname() == "localhost"
	return u.Scheme == "https" || u.Scheme == "http" && local
}

// maxAnswer bounds an answer of the API, in bytes. A page of 100 releases has some MiB.
const maxAnswer = 64 << 20

// limited bounds answers, and keeps the server's time.
type limited struct {
	base http.RoundTripper
	date *atomic.Int64 // nil for servers that have only bytes of assets
}

func (l *limited) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	most := int64(maxAnswer)
	if l.date == nil || req.Header.Get("Accept") == "application/octet-stream" {
		most = MaxSize // the bytes of an asset
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: most, most: most}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil && l.date != nil {
		l.date.Store(at.Unix())
	}
	return resp, nil
}

type limitedBody struct {
	io.ReadCloser
	left, most int64
}

var errLarge = errors.New("answer is too large")

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// One more byte tells a body of just the limit from a larger one.
		if n, err := b.ReadCloser.Read(p[:min(1, len(p))]); n == 0 {
			return 0, err
		}
		return 0, fmt.Errorf("%w: more than %d bytes", errLarge, b.most)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// DownloadURL is where an asset of a published release is downloaded from, known
// before it is uploaded. server is https://github.com or GITHUB_SERVER_URL.
func DownloadURL(server, repo, tag, name string) string {
	return fmt.Sprintf("%s/%s/releases/download/%s/%s", trimSlash(server), repo, escapeTag(tag), url.PathEscape(name))
}

// PageURL is the page of a published release.
func PageURL(server, repo, tag string) string {
	return fmt.Sprintf("%s/%s/releases/tag/%s", trimSlash(server), repo, escapeTag(tag))
}

// escapeTag keeps the slashes of a tag: GitHub's pages do.
func escapeTag(tag string) string { return strings.ReplaceAll(url.PathEscape(tag), "%2F", "/") }

func trimSlash(server string) string { return strings.TrimSuffix(server, "/") }
