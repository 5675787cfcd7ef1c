// Package fetch turns a URL into verified content.
//
// [Client.File] downloads what has a known sha256 into the cache and yields it
// from there; [Client.Bytes] reads small answers (a checksums file, an API's
// JSON) into memory, with or without a digest; [Client.Stream] hands a body on
// without keeping it.
//
// # What is refused
//
//   - plain http, except to loopback hosts from a loopback URL, or to the URL's
//     own host when the request says PlainHTTP;
//   - a redirect from https to http, more than [MaxRedirects] of them, or one
//     from elsewhere to a private, link-local or loopback address, as well as such
//     an address on the word of a public host ([Request].Origin);
//   - a small answer that is not complete after [MaxDocumentTime];
//   - a body longer than the request's limit, or one that does not match its
//     digest: that is never tried again.
//
// A bearer token goes to one host only, whatever redirects say, and never into
// an error: errors show URLs without query and user.
//
// # Retries
//
// [Policy] repeats GET and HEAD requests on connection faults and on the states
// 408, 429 and 5xx, after 1, 2, 4 … seconds or what Retry-After asks for, and
// ends connections that stall. build/image uses the same policy and the same
// [Guard] for registries.
//
// # Determinism and failure
//
// The package reads neither clock nor environment; waiting is a function of the
// Policy. An error leaves nothing in the cache. Errors about a server's answer
// are [*StatusError].
package fetch
