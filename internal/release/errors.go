package release

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v89/github"
)

// Reason tells errors apart.
type Reason string

const (
	Invalid      Reason = "invalid"      // what was asked for; nothing was sent
	TooLarge     Reason = "too large"    // a file; nothing was sent
	Unauthorized Reason = "unauthorized" // no token, or a bad one
	Forbidden    Reason = "forbidden"    // the token lacks a permission
	NotFound     Reason = "not found"    // the repository, or the release
	NoTag        Reason = "no tag"       // the tag is not in the repository
	TagProtected Reason = "tag protected"
	Clashes      Reason = "clash"       // an asset has other bytes
	Immutable    Reason = "immutable"   // the release, or one that had the tag before
	Ambiguous    Reason = "ambiguous"   // several drafts
	Changed      Reason = "changed"     // a local file, while it was uploaded
	Checksums    Reason = "checksums"   // SHA256SUMS does not fit the assets
	RateLimited  Reason = "rate limit"  // for longer than MaxWait
	Unavailable  Reason = "unavailable" // GitHub, after all tries
	Rejected     Reason = "rejected"    // any other refusal
)

// An Error says what could not be done, why, and what to do about it.
type Error struct {
	Reason Reason
	What   string // what was being done, with the release or asset
	Why    string
	Do     string // "" when the reason says it
	Status int    // of the answer; 0 when there was none
	Err    error  // the cause, if there is one
}

func (e *Error) Error() string {
	text := e.What + ": " + e.Why
	if e.Do != "" {
		text += "; " + e.Do
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// again is a failure that may have passed on another try.
type again struct {
	err    *Error
	wait   time.Duration // that the server asks for; 0 is the caller's to choose
	others bool          // it waits for another run, which is no failure
}

func (a *again) Error() string { return a.err.Error() }

// answer is what GitHub said to a request that failed.
type answer struct {
	status  int
	header  http.Header
	message string
	details []github.Error
	doc     string
}

func answerOf(err error) (answer, bool) {
	var usual *github.ErrorResponse
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	var moved *github.RedirectionError
	var otp *github.TwoFactorAuthError
	switch {
	case errors.As(err, &usual):
		return answer{usual.Response.StatusCode, usual.Response.Header, usual.Message, usual.Errors, usual.DocumentationURL}, true
	case errors.As(err, &primary):
		return answer{status: primary.Response.StatusCode, header: primary.Response.Header, message: primary.Message}, true
	case errors.As(err, &secondary):
		return answer{status: secondary.Response.StatusCode, header: secondary.Response.Header, message: secondary.Message, doc: "secondary-rate-limits"}, true
	case errors.As(err, &moved):
		return answer{status: moved.StatusCode, header: moved.Response.Header, message: "moved"}, true
	case errors.As(err, &otp):
		return answer{status: http.StatusUnauthorized, header: otp.Response.Header, message: otp.Message}, true
	}
	return answer{}, false
}

// says looks for a text in everything that GitHub said.
func (a answer) says(text string) bool {
	return strings.Contains(strings.ToLower(a.text()), text)
}

// names looks for a detail about a field.
func (a answer) names(field, code string) bool {
	return slices.ContainsFunc(a.details, func(d github.Error) bool { return d.Field == field && (code == "" || d.Code == code) })
}

func (a answer) text() string {
	parts := []string{a.message}
	for _, d := range a.details {
		if d.Message != "" {
			parts = append(parts, d.Message)
		} else if d.Field != "" {
			parts = append(parts, d.Field+" "+d.Code)
		}
	}
	text := strings.TrimSpace(strings.Join(parts, ": "))
	if text == "" {
		text = http.StatusText(a.status)
	}
	const most = 300
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// limit tells whether a rate limit refused a request, and how long it lasts.
func (a answer) limit() (time.Duration, bool) {
	if a.status != http.StatusForbidden && a.status != http.StatusTooManyRequests {
		return 0, false
	}
	if wait := retryAfter(a.header); wait > 0 {
		return wait, true
	}
	if a.header.Get("X-RateLimit-Remaining") == "0" {
		reset, err := strconv.ParseInt(a.header.Get("X-RateLimit-Reset"), 10, 64)
		now, dated := http.ParseTime(a.header.Get("Date"))
		if err == nil && dated == nil {
			return max(time.Second, time.Unix(reset, 0).Sub(now)), true
		}
		return time.Minute, true
	}
	if a.status == http.StatusTooManyRequests || a.says("rate limit") || a.says("abuse") || strings.HasSuffix(a.doc, "secondary-rate-limits") {
		return time.Minute, true // the least that GitHub asks for when it names no time
	}
	return 0, false
}

// retryAfter reads how long a server asks to wait, 0 for nothing. GitHub gives
// seconds.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(max(0, seconds)) * time.Second
}

// isStatus tells whether GitHub answered with a status.
func isStatus(err error, status int) bool {
	a, ok := answerOf(err)
	return ok && a.status == status
}

// What a token may do, in the words of a workflow's permissions.
const (
	writeContents     = "contents: write"
	readContents      = "contents: read"
	writeAttestations = "attestations: write"
)

// judge turns the error of a request of Publish into an *again, an *Error, or the
// context's.
func (r *run) judge(ctx context.Context, what string, err error) error {
	return r.c.judge(ctx, what, writeContents, err)
}

// permit says how a token gets a permission that it lacks.
func (c *Client) permit(needs string) string {
	text := fmt.Sprintf("the token lacks %q for %s/%s: add \"permissions: %s\" to the job", needs, c.owner, c.repo, needs)
	if strings.HasSuffix(needs, "write") {
		text += " (a pull request from a fork never has it)"
	}
	return text
}

// judge turns the error of a request that needs a permission into an *again, an *Error,
// or the context's.
func (c *Client) judge(ctx context.Context, what, needs string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a, answered := answerOf(err)
	if !answered {
		return noAnswer(what, err)
	}
	e := &Error{What: what, Why: fmt.Sprintf("%d %s", a.status, a.text()), Status: a.status, Err: err}
	if wait, limited := a.limit(); limited {
		e.Reason = RateLimited
		return &again{err: e, wait: wait}
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized:
		e.Reason, e.Do = Unauthorized, "GitHub does not know the token of GITHUB_TOKEN: it has expired, or is none of this server's"
	case s == http.StatusForbidden && a.says("workflow"):
		e.Reason, e.Do = Forbidden, "push the tag first: a job's token cannot make a tag on a commit that changes .github/workflows"
	case s == http.StatusForbidden:
		e.Reason, e.Do = Forbidden, c.permit(needs)
	case s == http.StatusNotFound:
		e.Reason, e.Do = NotFound, fmt.Sprintf(`check the name %s/%s; GitHub says the same when the token lacks %q for a private repository`, c.owner, c.repo, needs)
	case s >= 300 && s < 400:
		e.Reason, e.Why, e.Do = Rejected, fmt.Sprintf("%d: %s/%s has moved", s, c.owner, c.repo), "use the repository's present name"
	case s == http.StatusUnprocessableEntity && a.says("immutable"):
		e.Reason, e.Do = Immutable, "use a new tag: neither the release nor its tag can be used again"
	case s == http.StatusUnprocessableEntity && (a.names("pre_receive", "") || a.says("being restricted")):
		e.Reason, e.Do = TagProtected, "a rule of the repository protects the tag: let the job's token past it, or push the tag as somebody who may"
	case s == http.StatusUnprocessableEntity && (a.names("name", "already_exists") || a.names("tag_name", "already_exists")):
		e.Reason = Rejected
		return &again{err: e}
	case s == http.StatusRequestTimeout, s == http.StatusConflict, s >= 500:
		e.Reason = Unavailable
		return &again{err: e}
	default:
		e.Reason = Rejected
	}
	return e
}

// noAnswer judges a request that was not answered, or not to the end.
func noAnswer(what string, err error) error {
	e := &Error{Reason: Unavailable, What: what, Why: bare(err).Error(), Err: err}
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, errLarge):
		e.Reason = Rejected
		return e
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Do = "check GITHUB_API_URL and the network"
		return e
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid):
		e.Do = "check GITHUB_API_URL, and the machine's certificates and clock"
		return e
	}
	return &again{err: e}
}

// bare is what an error of net/http says, without the URL: those of other hosts hold
// secrets.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
