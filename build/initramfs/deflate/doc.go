// Package deflate compresses (RFC 1951).
package deflate
