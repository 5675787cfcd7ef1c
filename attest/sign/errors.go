package sign

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/volant/fledge-action/attest/retry"
)

// The services, as messages call them.
const (
	authorityService = "certificate authority"
	logService       = "transparency log"
	stampService     = "timestamp authority"
)

// GaveUp is the error when the budget for waiting is spent.
type GaveUp struct {
	Service string        // "transparency log", "certificate authority", "timestamp authority", "OIDC token endpoint"
	After   time.Duration // waited in all
	Last    error         // what the last try met
}

func (e *GaveUp) Error() string {
	return fmt.Sprintf("%s unreachable for %v (last: %v)", e.Service, e.After, e.Last)
}

func (e *GaveUp) Unwrap() error { return e.Last }

// StatusError is a service's refusal.
type StatusError struct {
	Service string
	Code    int
	Text    string // what it said, cut and made printable
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answered %d %s", e.Service, e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// explain takes off what libraries wrap around errors that speak for themselves.
func explain(err error) error {
	var ours *GaveUp
	var theirs *retry.GaveUp
	var refused *refusedToken
	var status *StatusError
	var at *url.Error
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &theirs): // of the token endpoint, which has a patience of its own
		return &GaveUp{Service: theirs.Service, After: theirs.After, Last: theirs.Last}
	case errors.As(err, &refused):
		return fmt.Errorf("signing: %w", refused)
	case errors.As(err, &status):
		return fmt.Errorf("signing: %w", status)
	case errors.As(err, &at):
		return fmt.Errorf("signing: %s: %w", host(at.URL), at.Err)
	}
	return fmt.Errorf("signing: %w", err)
}

// bare takes off the address that net/http adds.
func bare(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "service"
	}
	return u.Host
}

// maxText is the longest text of a service in an error, in bytes.
const maxText = 300

// printable makes what a service said fit to be shown: without control characters,
// cut, and without the token that it was sent.
func printable(answer []byte, header http.Header) string {
	text := strings.ToValidUTF8(string(answer[:min(len(answer), 8*maxText)]), "?")
	if _, token, ok := strings.Cut(header.Get("Authorization"), " "); ok {
		text = redact(text, token)
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// redact replaces a token and its parts.
func redact(text, token string) string {
	text = strings.ReplaceAll(text, token, "***")
	for part := range strings.SplitSeq(token, ".") {
		if len(part) >= 8 {
			text = strings.ReplaceAll(text, part, "***")
		}
	}
	return text
}

// refusedToken explains why a certificate authority takes no token, by what the
// token says of itself.
type refusedToken struct {
	status StatusError
	token  string // never shown
	now    time.Time
}

func (e *refusedToken) Unwrap() error { return &e.status }

func (e *refusedToken) Error() string {
	claims, err := unverified(e.token)
	if err != nil {
		return fmt.Sprintf("%v; the token is none: %v", &e.status, err)
	}
	expires := time.Unix(claims.Expires, 0).UTC()
	advice := "is its issuer one that the authority knows?"
	switch {
	case claims.Expires > 0 && e.now.After(expires):
		advice = "it is expired: check this machine's clock"
	case !strings.Contains(string(claims.Audience), `"`+audience+`"`):
		advice = fmt.Sprintf("its audience should be %q", audience)
	}
	return fmt.Sprintf("%v; the token has iss %.200q, aud %.200s, exp %s: %s", &e.status, claims.Issuer, claims.Audience, expires.Format(time.RFC3339), advice)
}

type tokenClaims struct {
	Issuer   string          `json:"iss"`
	Audience json.RawMessage `json:"aud"` // one or several
	Expires  int64           `json:"exp"` // seconds since 1970
}

// unverified reads a token's claims without a look at its signature, which is the
// authority's to check.
func unverified(token string) (tokenClaims, error) {
	var claims tokenClaims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims, fmt.Errorf("%d parts, want 3", len(parts))
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims, errors.New("its claims are not base64")
	}
	if err := json.Unmarshal(data, &claims); err != nil {
		return claims, errors.New("its claims are not JSON")
	}
	if clean, err := json.Marshal(claims.Audience); err == nil { // escapes what does not print
		claims.Audience = clean
	}
	return claims, nil
}
