package ext4

import (
	"encoding/binary"
	"math/bits"
)

// hashName is the hash of a directory entry's name: half MD4 over 32-byte pieces
// of the name, whose bytes are unsigned, seeded with the filesystem's hash seed.
// https://docs.kernel.org/filesystems/ext4/directory.html#hash-tree-directories
func hashName(seed [16]byte, name string) (hash, minor uint32) {
	state := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	if seed != [16]byte{} {
		for i := range state {
			state[i] = binary.LittleEndian.Uint32(seed[4*i:])
		}
	}
	for ; name != ""; name = name[min(32, len(name)):] {
		halfMD4(&state, hashWords(name))
	}
	hash = state[1] &^ 1
	if hash == 0xfffffffe { // reserved for the end of a directory
		hash = 0xfffffffc
	}
	return hash, state[2]
}

// hashWords turns up to 32 bytes of name into 8 words, padded with its length.
func hashWords(name string) [8]uint32 {
	pad := uint32(len(name)) | uint32(len(name))<<8
	pad |= pad << 16
	var words [8]uint32
	for i := range words {
		words[i] = pad
		for _, c := range []byte(name[:min(4, len(name))]) {
			words[i] = words[i]<<8 + uint32(c)
		}
		name = name[min(4, len(name)):]
	}
	return words
}

// halfMD4 is MD4 (RFC 1320) with three rounds of eight steps instead of sixteen.
func halfMD4(state *[4]uint32, in [8]uint32) {
	type round struct {
		mix   func(x, y, z uint32) uint32
		k     uint32
		order [8]int
		turn  [4]int
	}
	rounds := [3]round{
		{func(x, y, z uint32) uint32 { return z ^ (x & (y ^ z)) }, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{func(x, y, z uint32) uint32 { return x&y + (x^y)&z }, 0x5a827999, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{func(x, y, z uint32) uint32 { return x ^ y ^ z }, 0x6ed9eba1, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	}
	a, b, c, d := state[0], state[1], state[2], state[3]
	for _, r := range rounds {
		for step, word := range r.order {
			sum := bits.RotateLeft32(a+r.mix(b, c, d)+in[word]+r.k, r.turn[step%4])
			a, b, c, d = d, sum, b, c
		}
	}
	state[0] += a
	state[1] += b
	state[2] += c
	state[3] += d
}
