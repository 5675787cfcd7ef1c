// Package oidc asks GitHub Actions who the job is.
//
// [Source.Token] gets a token for an audience from the runner's endpoint;
// [Source.Claims] gets one for nobody, checks its signature and returns what it
// says. [Available] tells beforehand whether the job has such an endpoint.
// https://docs.github.com/en/actions/reference/security/oidc
//
// # Secrets
//
// The bearer of the request and every token are secrets. [Source.Mask] is given
// each before anything else sees it. No error, warning or other text of this package
// holds one; what a message tells of a token is its iss, aud and exp ([Describe]).
// The bearer goes to the endpoint alone: redirects are not followed.
//
// # What is checked
//
// The endpoint's state is 200, the answer at most [MaxAnswer] bytes of JSON with a
// token that has the form of one: an answer without a token is an error, never an
// empty token. Of claims: the signature by the issuer's published keys (RS256 or
// ES256, keys from the issuer's own host), iss, aud, exp, nbf, iat with a leeway of [Leeway].
//
// # Determinism
//
// The package reads no environment but what [Available] and [FromEnv] are given. It reads the
// clock, to see whether a token has expired.
package oidc
