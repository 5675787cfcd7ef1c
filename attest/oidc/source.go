package oidc

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/volant/fledge-action/attest/retry"
)

// MaxAnswer is the longest answer of the token endpoint, in bytes.
const MaxAnswer = 64 << 10

// DefaultIssuer signs the tokens of github.com.
const DefaultIssuer = "https://token.actions.githubusercontent.com"

// service is the endpoint's name in messages.
const service = "OIDC token endpoint"

// A Source gets tokens. It is safe for concurrent use.
type Source struct {
	URL          string       // the runner's endpoint, with its query; https, or http of a loopback host
	RequestToken string       // the bearer for URL
	Client       *http.Client // nil means a plain one; its CheckRedirect, Jar and Timeout are not used
	Issuer       string       // "" means DefaultIssuer
	ServerURL    string       // for the claims: GitHub's address, "" means https://github.com
	Mask         func(string) // is given each secret before it is used; may be nil

	Retry retry.Options    // Service is not used
	Now   func() time.Time // nil means time.Now
}

// Available tells whether the environment has a token endpoint, and if not, why.
func Available(getenv func(string) string) (ok bool, reason string) {
	if getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" && getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") != "" {
		return true, ""
	}
	if getenv("GITHUB_ACTIONS") != "true" {
		return false, "no OIDC token: this is no job of GitHub Actions"
	}
	return false, "no OIDC token: the job needs `permissions: id-token: write` (pull requests from forks never get one)"
}

// FromEnv makes the Source of a job of GitHub Actions. An issuer of "" is that of the
// job's server; with another one the server may be any. The caller adds Mask.
func FromEnv(getenv func(string) string, issuer string) (*Source, error) {
	if ok, reason := Available(getenv); !ok {
		return nil, errors.New(reason)
	}
	server := getenv("GITHUB_SERVER_URL")
	if issuer == "" {
		var err error
		if issuer, err = IssuerOf(server); err != nil {
			return nil, err
		}
	}
	return &Source{
		URL: getenv("ACTIONS_ID_TOKEN_REQUEST_URL"), RequestToken: getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
		Issuer: issuer, ServerURL: server,
	}, nil
}

// IssuerOf is the issuer of the tokens of a GitHub server: "https://github.com",
// which "" means too, or "https://NAME.ghe.com".
func IssuerOf(serverURL string) (string, error) {
	host, https := strings.CutPrefix(serverURL, "https://")
	name, enterprise := strings.CutSuffix(host, ".ghe.com")
	switch {
	case serverURL == "" || host == "github.com" && https:
		return DefaultIssuer, nil
	case https && enterprise && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "":
		return "https://token.actions." + host, nil
	}
	return "", fmt.Errorf("server URL %.100q has no OIDC issuer that is known: want https://github.com or https://NAME.ghe.com", serverURL)
}

// Token gets a fresh token for an audience.
func (s *Source) Token(ctx context.Context, audience string) (string, error) {
	token, err := s.token(ctx, audience)
	if err != nil {
		return "", fmt.Errorf("getting an OIDC token: %w", err)
	}
	return token, nil
}

func (s *Source) token(ctx context.Context, audience string) (string, error) {
	if s.RequestToken == "" {
		return "", errors.New("no request token: the job needs `permissions: id-token: write`")
	}
	s.mask(s.RequestToken)
	u, err := endpoint(s.URL, audience)
	if err != nil {
		return "", err
	}
	header := http.Header{"Authorization": {"bearer " + s.RequestToken}, "Accept": {"application/json"}}
	token, asked := "", 0
	err = s.get(ctx, request{service, u, header, MaxAnswer}, func(body []byte) (err error) {
		token, err = s.value(body)
		if asked++; err != nil && asked < spoiled {
			return &retry.Temporary{Err: err}
		}
		return err
	})
	return token, err
}

// spoiled is how often an answer without a token is put up with before it is
// believed. While the service has an outage, something in between may answer.
const spoiled = 3

// value takes the token out of an answer.
func (s *Source) value(body []byte) (string, error) {
	var answer struct {
		Value string `json:"value"`
	}
	err := json.Unmarshal(body, &answer)
	s.mask(answer.Value)
	switch {
	case err != nil && bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return "", errors.New("the answer is HTML instead of JSON with a token; try again later")
	case err != nil:
		return "", errors.New("the answer is not JSON with a token; try again later")
	case answer.Value == "":
		return "", errors.New("the answer has no token: value is missing or empty")
	}
	if _, err := decode(answer.Value); err != nil {
		return "", fmt.Errorf("the answer's value is not a token: %w", err)
	}
	return answer.Value, nil
}

// endpoint adds the audience to the endpoint's URL.
func endpoint(raw, audience string) (*url.URL, error) {
	u, err := checkURL(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", service, err)
	}
	if audience == "" {
		return nil, errors.New("no audience")
	}
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&audience="+url.QueryEscape(audience), "&")
	return u, nil
}

// checkURL parses a URL that secrets or keys may come from.
func checkURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("URL is not https://HOST/…") // not shown: it may be a secret in the wrong place
	case u.User != nil:
		return nil, errors.New("URL has a user or password in it")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		return nil, fmt.Errorf("URL of host %s is %s, want https", u.Host, u.Scheme)
	}
	return u, nil
}

func loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// A request is what to get, and from whom.
type request struct {
	service string // in messages
	url     *url.URL
	header  http.Header
	most    int64 // bytes of the answer
}

// get hands one whole answer to read, again and again while faults pass. Redirects
// are not followed.
func (s *Source) get(ctx context.Context, r request, read func(body []byte) error) error {
	client := http.Client{}
	if s.Client != nil {
		client = *s.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar, client.Timeout = nil, 0
	options := s.Retry
	options.Service = r.service
	err := options.Do(ctx, func(ctx context.Context) error { return s.once(ctx, &client, r, read) })
	var gaveUp *retry.GaveUp
	if err == nil || errors.As(err, &gaveUp) || ctx.Err() != nil { // which name the service
		return err
	}
	return fmt.Errorf("%s: %w", r.service, err)
}

func (s *Source) once(ctx context.Context, client *http.Client, r request, read func(body []byte) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url.String(), nil)
	if err != nil {
		return bare(err)
	}
	req.Header = r.header.Clone()
	resp, err := client.Do(req)
	if err == nil {
		defer func() { _ = resp.Body.Close() }()
	}
	err = bare(err)
	if fault := retry.Fault(resp, err); fault != nil {
		return fault
	}
	if err != nil {
		return err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, r.most+1))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return s.refusal(resp, body)
	case int64(len(body)) > r.most:
		return fmt.Errorf("the answer is longer than the limit of %d bytes", r.most)
	}
	return read(body)
}

// refusal tells what a server has answered instead of 200, and what to do.
func (s *Source) refusal(resp *http.Response, body []byte) error {
	text := fmt.Sprintf("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	var answer struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &answer) == nil && answer.Message != "" && !strings.Contains(answer.Message, s.RequestToken) {
		text += ": " + oneLine(answer.Message)
	}
	switch code := resp.StatusCode; {
	case code >= 300 && code < 400:
		text += "; redirects are not followed"
	case (code == http.StatusUnauthorized || code == http.StatusForbidden) && resp.Request.Header.Get("Authorization") != "":
		text += "; the request token is good only while its job runs, and the job needs `permissions: id-token: write`"
	}
	return errors.New(text)
}

// oneLine makes a server's words fit for one line of a terminal.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	const most = 200 // bytes
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func (s *Source) mask(secret string) {
	if s.Mask != nil && secret != "" {
		s.Mask(secret)
	}
}

func (s *Source) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

// bare takes the URL off net/http's errors.
func bare(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// decode takes a token apart without checking its signature. Errors do not show
// what is in it.
func decode(token string) (payload []byte, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[2] == "" {
		return nil, errors.New("want a header, claims and a signature, with dots between")
	}
	for i, name := range []string{"header", "claims"} {
		if payload, err = base64.RawURLEncoding.DecodeString(parts[i]); err != nil {
			return nil, errors.New(name + " is not base64url")
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(payload, &object) != nil || object == nil {
			return nil, errors.New(name + " is not a JSON object")
		}
	}
	if _, err := base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return nil, errors.New("signature is not base64url")
	}
	return payload, nil
}

// Describe says of a token what may be shown: its issuer, audience and end. Nothing
// of it has been checked.
func Describe(token string) string {
	payload, err := decode(token)
	if err != nil {
		return "not a token: " + err.Error()
	}
	var c registered
	if err := json.Unmarshal(payload, &c); err != nil {
		return "token with malformed claims"
	}
	return fmt.Sprintf("token of issuer %s for audience %s that expires %s", quote(c.Issuer), quote(strings.Join(c.Audience, ", ")), c.Expires)
}

func quote(s string) string { return fmt.Sprintf("%.200q", s) }
