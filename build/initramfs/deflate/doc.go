// Package deflate compresses data to the format of RFC 1951,
// https://www.rfc-editor.org/rfc/rfc1951, in blocks that do not depend on one another.
//
// An [Encoder] is given a block and what stands before it, and returns bytes that can
// be joined with those of other blocks, in order, to one stream. So blocks can be
// compressed at the same time and the stream is always the same.
//
// # How
//
// A block goes through three stages. Matches with what came before are found
// through chains of positions with the same hash, and a match waits until one or two later
// positions have shown that they have none that is better (lazy matching). The literals and
// matches of the whole block are then cut into small pieces, and neighbours are joined for as long
// as one description of their codes for both is smaller than two; what is left are
// the blocks of the format. Each is written with the best codes that the
// format allows, found by package-merge, with the fixed codes or as it is, whichever is
// smallest.
//
// # Determinism
//
// The bytes are a function of the level, the block and up to [WindowSize] bytes
// before it. Estimates are made in integers: floating point differs between processors.
// The levels' numbers and the estimates decide about the bytes of artifacts.
//
// # Limits
//
// A block's data is in memory, and four bytes for each byte of it at worst, plus about a
// megabyte. It must be smaller than 2 GiB.
//
// # Failure
//
// There is nothing that could fail but the choice of a level. Decoding is left to others.
package deflate
