package oidc

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/volant/fledge-action/attest/statement"
)

// Nobody is the audience of the token that Claims reads: whoever gets hold of it
// can use it nowhere.
const Nobody = "nobody"

// Leeway is by how much clocks may differ.
const Leeway = time.Minute

// issuerService is the issuer's name in messages.
const issuerService = "OIDC issuer"

// maxKeys is the longest list of an issuer's keys, in bytes.
const maxKeys = 256 << 10

// algorithms are those of signatures that are accepted. None and those with a
// shared secret are not among them.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256}

// Claims gets a token for nobody and returns what it says about the job, after its
// signature, issuer, audience and time have been checked.
func (s *Source) Claims(ctx context.Context) (statement.Claims, error) {
	c, err := s.claims(ctx)
	if err != nil {
		return statement.Claims{}, fmt.Errorf("getting the job's OIDC claims: %w", err)
	}
	return c, nil
}

func (s *Source) claims(ctx context.Context) (statement.Claims, error) {
	token, err := s.token(ctx, Nobody)
	if err != nil {
		return statement.Claims{}, err
	}
	keys, err := s.keys(ctx)
	if err != nil {
		return statement.Claims{}, err
	}
	payload, err := verify(token, keys)
	if err != nil {
		return statement.Claims{}, fmt.Errorf("%w (%s)", err, Describe(token))
	}
	if err := s.check(payload); err != nil {
		return statement.Claims{}, fmt.Errorf("%w (%s)", err, Describe(token))
	}
	return s.read(payload)
}

func (s *Source) issuer() string { return strings.TrimSuffix(cmp.Or(s.Issuer, DefaultIssuer), "/") }

// keys asks the issuer for its keys.
func (s *Source) keys(ctx context.Context) (*jose.JSONWebKeySet, error) {
	base, err := checkURL(s.issuer())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", issuerService, err)
	}
	var config struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := s.document(ctx, s.issuer()+"/.well-known/openid-configuration", &config); err != nil {
		return nil, err
	}
	if config.Issuer != s.issuer() {
		return nil, fmt.Errorf("%s %s calls itself %s", issuerService, s.issuer(), quote(config.Issuer))
	}
	at, err := checkURL(config.JWKSURI)
	if err != nil {
		return nil, fmt.Errorf("%s: jwks_uri: %w", issuerService, err)
	}
	if at.Scheme != base.Scheme || !strings.EqualFold(at.Host, base.Host) {
		return nil, fmt.Errorf("%s %s has its keys at another host, %s", issuerService, s.issuer(), quote(at.Host))
	}
	keys := new(jose.JSONWebKeySet)
	if err := s.document(ctx, config.JWKSURI, keys); err != nil {
		return nil, err
	}
	return keys, nil
}

// document gets JSON from the issuer. It sends no secret.
func (s *Source) document(ctx context.Context, at string, into any) error {
	u, err := checkURL(at)
	if err != nil {
		return fmt.Errorf("%s: %w", issuerService, err)
	}
	r := request{issuerService, u, http.Header{"Accept": {"application/json"}}, maxKeys}
	err = s.get(ctx, r, func(body []byte) error { return json.Unmarshal(body, into) })
	if err != nil {
		return fmt.Errorf("getting %s: %w", u.Path, err)
	}
	return nil
}

// verify checks a token's signature and returns its claims.
func verify(token string, keys *jose.JSONWebKeySet) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, algorithms)
	if err != nil {
		var wrong *jose.ErrUnexpectedSignatureAlgorithm
		if errors.As(err, &wrong) {
			return nil, fmt.Errorf("OIDC token is signed by algorithm %s, want RS256 or ES256", quote(string(wrong.Got)))
		}
		return nil, errors.New("OIDC token is malformed")
	}
	header := signed.Signatures[0].Header
	if header.KeyID == "" {
		return nil, errors.New("OIDC token does not name the key that it is signed by")
	}
	found := keys.Key(header.KeyID)
	if len(found) != 1 {
		return nil, fmt.Errorf("OIDC token is signed by key %s, of which the issuer has %d", quote(header.KeyID), len(found))
	}
	key := found[0]
	if !key.Valid() || !key.IsPublic() || key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return nil, fmt.Errorf("the issuer's key %s is not for signatures by %s", quote(header.KeyID), header.Algorithm)
	}
	payload, err := signed.Verify(key.Key)
	if err != nil {
		return nil, fmt.Errorf("signature of the OIDC token does not fit the issuer's key %s", quote(header.KeyID))
	}
	return payload, nil
}

// registered are the claims that every token has.
type registered struct {
	Issuer    string   `json:"iss"`
	Audience  audience `json:"aud"`
	Expires   seconds  `json:"exp"`
	NotBefore seconds  `json:"nbf"`
	IssuedAt  seconds  `json:"iat"`
}

// audience is a text or a list of texts.
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// seconds is a time since 1970, 0 if it is not told. Parts of a second do not
// matter.
type seconds float64

func (s seconds) Time() time.Time { return time.Unix(int64(s), 0).UTC() }

func (s seconds) String() string {
	if s == 0 {
		return "never"
	}
	return s.Time().Format(time.RFC3339)
}

// latest is the end of year 9999: no time of a token is past it.
const latest = 253402300799

// check checks who made a token, for whom, and when.
func (s *Source) check(payload []byte) error {
	var c registered
	if err := json.Unmarshal(payload, &c); err != nil {
		return errors.New("OIDC token has malformed claims")
	}
	suffix, ok := strings.CutPrefix(c.Issuer, s.issuer())
	if !ok || suffix != "" && !isSuffix(suffix) {
		return fmt.Errorf("OIDC token is of issuer %s, want %s", quote(c.Issuer), quote(s.issuer()))
	}
	if !slices.Equal(c.Audience, audience{Nobody}) {
		return fmt.Errorf("OIDC token is for audience %s, want %q", quote(strings.Join(c.Audience, ", ")), Nobody)
	}
	for _, t := range []seconds{c.Expires, c.NotBefore, c.IssuedAt} {
		if t < 0 || t > latest {
			return errors.New("OIDC token has times that cannot be")
		}
	}
	now := s.now().UTC()
	switch {
	case c.Expires == 0:
		return errors.New("OIDC token never expires: exp is missing")
	case now.After(c.Expires.Time().Add(Leeway)):
		return fmt.Errorf("OIDC token has expired: it is %s", now.Format(time.RFC3339))
	case now.Add(Leeway).Before(c.NotBefore.Time()):
		return fmt.Errorf("OIDC token is not valid before %s: it is %s; is the clock right?", c.NotBefore, now.Format(time.RFC3339))
	case now.Add(Leeway).Before(c.IssuedAt.Time()):
		return fmt.Errorf("OIDC token was issued at %s: it is %s; is the clock right?", c.IssuedAt, now.Format(time.RFC3339))
	}
	return nil
}

// isSuffix tells whether an issuer's end is the "/NAME" of an enterprise.
func isSuffix(s string) bool {
	name, ok := strings.CutPrefix(s, "/")
	return ok && name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && strings.Trim(name, ".") != ""
}

// read takes the job's claims out of a token that has been checked.
func (s *Source) read(payload []byte) (statement.Claims, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(payload, &all); err != nil {
		return statement.Claims{}, errors.New("OIDC token has malformed claims")
	}
	c := statement.Claims{ServerURL: s.ServerURL}
	for _, claim := range []struct {
		name string
		into *string
	}{
		{"iss", &c.Issuer},
		{"sub", &c.Subject},
		{"ref", &c.Ref},
		{"sha", &c.SHA},
		{"repository", &c.Repository},
		{"event_name", &c.EventName},
		{"job_workflow_ref", &c.JobWorkflowRef},
		{"workflow_ref", &c.WorkflowRef},
		{"repository_id", &c.RepositoryID},
		{"repository_owner_id", &c.RepositoryOwnerID},
		{"runner_environment", &c.RunnerEnvironment},
		{"run_id", &c.RunID},
		{"run_attempt", &c.RunAttempt},
		{"repository_visibility", &c.RepositoryVisibility},
	} {
		raw, ok := all[claim.name]
		if ok && json.Unmarshal(raw, claim.into) != nil {
			return statement.Claims{}, fmt.Errorf("claim %s of the OIDC token is not text", claim.name)
		}
	}
	return c, c.Check()
}
