package fetch

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/volant/fledge-action/build/cache"
)

// Default limits of a body, in bytes.
const (
	MaxFile  = 1 << 30 // with a digest
	MaxBytes = 4 << 20 // in memory
)

// A Client fetches URLs. It is safe for concurrent use.
type Client struct {
	HTTP   *http.Client // nil means a plain one; its CheckRedirect and Jar are not used
	Cache  *cache.Cache // for File; required there
	Policy Policy
}

// A Request says what to fetch and what it must be.
type Request struct {
	URL string
	// SHA256 is 64 hex digits, with or without "sha256:" before them.
	SHA256 string
	// Max is the longest body accepted, in bytes; 0 means MaxFile or MaxBytes.
	Max int64
	// Accept is the Accept header; "" leaves it out.
	Accept string
	// Token is a bearer token for TokenHost (host or host:port, as in the URL).
	// It is sent nowhere else, nor over plain http except to a loopback host.
	Token     string
	TokenHost string
	// PlainHTTP allows http to the URL's own host when that is not a loopback.
	PlainHTTP bool
	// Origin is the host on whose word the URL is fetched: with one that is public,
	// private and loopback addresses are refused as they are in redirects. "" is the
	// URL's own host, for a URL that the user gave.
	Origin string
}

// A StatusError is a server's answer that is not 200.
type StatusError struct {
	URL     string // redacted
	Code    int
	Message string        // the "message" of a JSON answer, or ""
	Wait    time.Duration // how long the server asks to wait, 0 if it does not
}

// NewStatusError makes a StatusError of a URL, which it redacts, and a server's
// words, which it makes fit for one line.
func NewStatusError(u *url.URL, code int, message string) *StatusError {
	return &StatusError{URL: Redact(u), Code: code, Message: printable(message)}
}

func (e *StatusError) Error() string {
	msg := fmt.Sprintf("%s answers %d %s", e.URL, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		msg += ": " + e.Message
	}
	if e.Wait > 0 {
		msg += fmt.Sprintf(" (asks to wait %v)", e.Wait)
	}
	return msg
}

// Content is a downloaded file: a tree.Content.
type Content struct {
	cache  *cache.Cache
	digest string
	size   int64
}

// Size is the length in bytes.
func (c *Content) Size() int64 { return c.size }

// Digest is "sha256:<hex>".
func (c *Content) Digest() string { return c.digest }

// Open yields the bytes, checked again while they are read.
func (c *Content) Open() (io.ReadCloser, error) {
	return c.cache.Open(c.digest, c.size)
}

// File returns the content with the request's digest, from the cache or else
// from the URL. The bytes have been checked when it returns.
func (c *Client) File(ctx context.Context, r Request) (*Content, error) {
	digest, err := digestOf(r.SHA256)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", redact(r.URL), err)
	}
	if r.Max == 0 {
		r.Max = MaxFile
	}
	if size, ok := c.cached(digest); ok && size <= r.Max {
		return &Content{cache: c.Cache, digest: digest, size: size}, nil
	}
	size, err := c.download(ctx, r, digest)
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", redact(r.URL), err)
	}
	return &Content{cache: c.Cache, digest: digest, size: size}, nil
}

// Bytes returns the body of a small answer. With a digest it is checked.
func (c *Client) Bytes(ctx context.Context, r Request) ([]byte, error) {
	if r.Max == 0 {
		r.Max = MaxBytes
	}
	ctx, cancel := context.WithTimeoutCause(ctx, MaxDocumentTime, &SlowError{After: MaxDocumentTime})
	defer cancel()
	var body bytes.Buffer
	err := c.repeat(ctx, r, func(resp io.Reader) error {
		body.Reset()
		_, err := body.ReadFrom(resp)
		return err
	})
	if err == nil && r.SHA256 != "" {
		err = c.verify(body.Bytes(), r.SHA256)
	}
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", redact(r.URL), slow(ctx, err))
	}
	return body.Bytes(), nil
}

// Stream hands the body to read without storing it; the request's digest is not
// looked at. When the connection breaks off, read is called again with the body from its
// start.
func (c *Client) Stream(ctx context.Context, r Request, read func(io.Reader) error) error {
	if r.Max == 0 {
		r.Max = MaxFile
	}
	if err := c.repeat(ctx, r, read); err != nil {
		return fmt.Errorf("fetching %s: %w", redact(r.URL), err)
	}
	return nil
}

func (c *Client) verify(body []byte, sha256 string) error {
	digest, err := digestOf(sha256)
	if err != nil {
		return err
	}
	v, err := cache.Verify(bytes.NewReader(body), digest, int64(len(body)))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, v)
	return err
}

// cached tells whether the cache has good bytes for a digest, and how many. They
// are read through once: a bad entry is dropped here, not in the user's build.
func (c *Client) cached(digest string) (int64, bool) {
	r, err := c.Cache.Open(digest, cache.AnySize)
	if err != nil {
		return 0, false
	}
	defer func() { _ = r.Close() }()
	n, err := io.Copy(io.Discard, r)
	return n, err == nil
}

// download gets the body into the cache.
func (c *Client) download(ctx context.Context, r Request, digest string) (int64, error) {
	var size int64
	err := c.repeat(ctx, r, func(body io.Reader) error {
		w, err := c.Cache.Create(digest, cache.AnySize)
		if err != nil {
			return err
		}
		defer w.Abort(nil)
		if size, err = io.Copy(w, body); err != nil {
			return err
		}
		return w.Commit()
	})
	return size, err
}

// repeat hands the URL's body to read, from the start again when the connection
// breaks off. The body fails past r.Max bytes.
func (c *Client) repeat(ctx context.Context, r Request, read func(io.Reader) error) error {
	client, err := c.client(r)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		broken, err := c.once(ctx, client, r, read)
		if err == nil || !broken || attempt >= c.Policy.attempts() || ctx.Err() != nil {
			return err
		}
		why := fmt.Errorf("%s: %w", redact(r.URL), err)
		if err := c.Policy.Pause(ctx, attempt, 0, why); err != nil {
			return err
		}
	}
}

// once makes one request; broken tells that its body broke off.
func (c *Client) once(ctx context.Context, client *http.Client, r Request, read func(io.Reader) error) (broken bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return false, bare(err)
	}
	req.Header.Set("Accept-Encoding", "identity") // the digest is of what is stored, not of its gzip
	if r.Accept != "" {
		req.Header.Set("Accept", r.Accept)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, bare(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return false, statusError(resp, r.Token)
	}
	if resp.ContentLength > r.Max {
		return false, fmt.Errorf("body has %d bytes, more than the limit of %d", resp.ContentLength, r.Max)
	}
	body := &limited{r: resp.Body, left: r.Max, limit: r.Max}
	err = read(body)
	return body.fault != nil && Temporary(body.fault), err
}

// client is c.HTTP with the policy, the guard and the request's token.
func (c *Client) client(r Request) (*http.Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, bare(err)
	}
	if u.Host == "" || u.User != nil {
		return nil, errors.New("want a URL with a host and without user or password")
	}
	client := http.Client{}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.Jar = nil
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return nil } // Guard decides
	var rt http.RoundTripper = c.Policy.Transport(client.Transport)
	if r.Token != "" {
		rt = &tokenTransport{base: rt, token: r.Token, host: r.TokenHost}
	}
	client.Transport = Guard(rt, cmp.Or(r.Origin, u.Host), r.PlainHTTP)
	return &client, nil
}

// tokenTransport adds the token to requests to its host. It decides by each
// request's own URL: http.Client would pass a header on to subdomains.
type tokenTransport struct {
	base        http.RoundTripper
	token, host string
}

func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	safe := req.URL.Scheme == "https" || Loopback(req.URL.Host)
	if strings.EqualFold(req.URL.Host, t.host) && safe {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.base.RoundTrip(req)
}

// limited is a body that fails past its limit and remembers the connection's
// fault, so that it is told from faults of whoever reads.
type limited struct {
	r     io.Reader
	left  int64
	limit int64
	fault error
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("body is longer than the limit of %d bytes", l.limit)
	}
	if err != nil && err != io.EOF {
		l.fault = err
	}
	return n, err
}

// statusError reads what a server says about its refusal. An answer that holds
// the token is not repeated.
func statusError(resp *http.Response, token string) error {
	e := NewStatusError(resp.Request.URL, resp.StatusCode, "")
	e.Wait = retryAfter(resp.Header)
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err != nil {
		return e // the state is what matters
	}
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &answer) == nil && (token == "" || !strings.Contains(answer.Message, token)) {
		e.Message = printable(answer.Message)
	}
	return e
}

// printable makes a server's words fit for one line of a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	const most = 200 // bytes
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// digestOf normalises a sha256.
func digestOf(s string) (string, error) {
	if s == "" {
		return "", errors.New("a sha256 is required")
	}
	digest := "sha256:" + strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	_, err := cache.Hex(digest)
	return digest, err
}

// bare takes the URL, with its query, off net/http's errors: the caller names it.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

func redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "URL"
	}
	return Redact(u)
}
