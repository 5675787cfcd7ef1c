package ext4read

import "math/bits"

// Hash versions of a directory index. The unsigned ones differ only for names
// with bytes from 0x80 on.
const (
	hashLegacy = iota
	hashHalfMD4
	hashTEA
	hashUnsigned = 3 // added to each of the above
)

// dirHash is the major hash of a name, by which a directory index is sorted. Bit
// 0 is always clear: in an index it marks a continued run of equal hashes.
// version is one of the six; seed all zero means the default.
func dirHash(version uint8, seed [4]uint32, name []byte) uint32 {
	unsigned := version >= hashUnsigned
	if unsigned {
		version -= hashUnsigned
	}
	state := seed
	if state == [4]uint32{} {
		state = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476} // MD4's own
	}
	switch version {
	case hashHalfMD4:
		for ; len(name) > 0; name = name[min(32, len(name)):] {
			var in [8]uint32
			packName(in[:], name, unsigned)
			halfMD4(&state, &in)
		}
		return state[1] &^ 1
	case hashTEA:
		for ; len(name) > 0; name = name[min(16, len(name)):] {
			var in [4]uint32
			packName(in[:], name, unsigned)
			tea(&state, &in)
		}
		return state[0] &^ 1
	}
	return legacyHash(name, unsigned) &^ 1
}

func widen(c byte, unsigned bool) uint32 {
	if unsigned {
		return uint32(c)
	}
	return uint32(int32(int8(c)))
}

func legacyHash(name []byte, unsigned bool) uint32 {
	older, newer := uint32(0x37abe8f9), uint32(0x12a3fe2d)
	for _, c := range name {
		h := older + (newer ^ widen(c, unsigned)*7152373)
		if h&0x80000000 != 0 {
			h -= 0x7fffffff
		}
		older, newer = newer, h
	}
	return newer << 1
}

// packName fills words with a name's bytes, most significant first, padded with
// the length of what is left of the name.
func packName(words []uint32, name []byte, unsigned bool) {
	pad := uint32(len(name)) * 0x01010101
	for i := range words {
		w := pad
		for j := 4 * i; j < min(4*i+4, len(name)); j++ {
			w = w<<8 + widen(name[j], unsigned)
		}
		words[i] = w
	}
}

// halfMD4 is three rounds of eight steps with MD4's functions and constants.
func halfMD4(state *[4]uint32, in *[8]uint32) {
	rounds := [3]struct {
		f     func(x, y, z uint32) uint32
		k     uint32
		order [8]int
		shift [4]int
	}{
		{func(x, y, z uint32) uint32 { return z ^ x&(y^z) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5A827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ED9EBA1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	}
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range rounds {
		for i, w := range r.order {
			a += r.f(b, c, d) + in[w] + r.k
			a, b, c, d = d, bits.RotateLeft32(a, r.shift[i%4]), b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}

// tea is sixteen cycles of the Tiny Encryption Algorithm, in as its key, added
// to the state it encrypts.
func tea(state *[4]uint32, in *[4]uint32) {
	x, y, sum := state[0], state[1], uint32(0)
	for range 16 {
		sum += 0x9E3779B9
		x += (y<<4 + in[0]) ^ (y + sum) ^ (y>>5 + in[1])
		y += (x<<4 + in[2]) ^ (x + sum) ^ (x>>5 + in[3])
	}
	state[0] += x
	state[1] += y
}
