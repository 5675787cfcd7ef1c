// Package retry asks a service again until it answers or patience ends.
//
// [Options.Transport] does it for every request of an HTTP client, [Options.Do]
// for any function. Both wait for a random time between 0 and 1, 2, 4 … 90 seconds
// ("full jitter": the jobs that a fault has stopped at the same time do not come back at
// the same time), and at least as long as Retry-After asks for.
//
// # What is tried again
//
// Connections that are refused, reset, cut or silent; the states 408, 429 and 5xx
// but 501. Not: a name that does not exist, a certificate that is not trusted, what
// policy has refused, a context that has ended. Requests of any method are
// repeated: signing twice does no harm. A request whose body cannot be had again is
// tried once.
//
// # Failure
//
// When the budget would end before the next try, the error is a [*GaveUp] with the
// last fault. Errors show hosts, never paths, queries or headers, where secrets
// are.
package retry
