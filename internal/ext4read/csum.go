package ext4read

import (
	"encoding/binary"
	"hash/crc32"
)

var (
	le = binary.LittleEndian
	be = binary.BigEndian

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// crc32c continues a CRC-32C register. Unlike hash/crc32 it inverts neither its
// input nor its output, which is how ext4 and jbd2 chain and store it.
func crc32c(register uint32, p []byte) uint32 {
	return ^crc32.Update(^register, castagnoli, p)
}

// crc32cOf is the register after a 32-bit little-endian number.
func crc32cOf(register, n uint32) uint32 {
	var b [4]byte
	le.PutUint32(b[:], n)
	return crc32c(register, b[:])
}

// crc16 continues a CRC-16 register (polynomial 0x8005, reflected), as gdt_csum
// uses it.
func crc16(register uint16, p []byte) uint16 {
	for _, b := range p {
		register ^= uint16(b)
		for range 8 {
			if register&1 != 0 {
				register = register>>1 ^ 0xA001
			} else {
				register >>= 1
			}
		}
	}
	return register
}

// zeroed returns a copy of p with size bytes at off cleared.
func zeroed(p []byte, off, size int) []byte {
	c := append([]byte(nil), p...)
	clear(c[off : off+size])
	return c
}

// superChecksumOK reports whether the 1024 bytes of a superblock match their
// checksum.
func superChecksumOK(raw []byte) bool {
	return crc32c(^uint32(0), raw[:0x3FC]) == le.Uint32(raw[0x3FC:])
}

// descChecksum is the checksum that a group descriptor should hold.
func (f *FS) descChecksum(group uint32, raw []byte) uint16 {
	const at = 0x1E
	if f.sb.has(roMetadataCsum) {
		return uint16(crc32c(crc32cOf(f.seed, group), zeroed(raw, at, 2)))
	}
	var n [4]byte
	le.PutUint32(n[:], group)
	c := crc16(crc16(^uint16(0), f.sb.UUID[:]), n[:])
	return crc16(crc16(c, raw[:at]), raw[at+2:])
}

// inodeSeed is the register that checksums of an inode's own structures start
// from.
func (f *FS) inodeSeed(number, generation uint32) uint32 {
	return crc32cOf(crc32cOf(f.seed, number), generation)
}

// inodeChecksumOK reports whether an inode record matches its checksum. An inode
// that was never written, all zero, needs none.
func (f *FS) inodeChecksumOK(number uint32, raw []byte) bool {
	const lo, hi = 0x7C, 0x82
	clean := zeroed(raw, lo, 2)
	want, mask := uint32(le.Uint16(raw[lo:])), uint32(0xFFFF)
	if len(raw) > 128 && le.Uint16(raw[0x80:]) >= 4 {
		clear(clean[hi : hi+2])
		want |= uint32(le.Uint16(raw[hi:])) << 16
		mask = ^uint32(0)
	}
	if crc32c(f.inodeSeed(number, le.Uint32(raw[0x64:])), clean)&mask == want {
		return true
	}
	return allZero(raw)
}

// extentNodeChecksumOK reports whether an extent block matches the checksum that
// follows its last possible entry. The header has been checked to fit.
func (f *FS) extentNodeChecksumOK(in *Inode, node []byte) bool {
	tail := 12 + 12*int(le.Uint16(node[4:]))
	if tail+4 > len(node) {
		return false
	}
	return crc32c(f.inodeSeed(in.Number, in.Generation), node[:tail]) == le.Uint32(node[tail:])
}

// xattrBlockChecksumOK reports whether an attribute block matches its checksum.
func (f *FS) xattrBlockChecksumOK(block uint64, raw []byte) bool {
	const at = 0x10
	var n [8]byte
	le.PutUint64(n[:], block)
	return crc32c(crc32c(f.seed, n[:]), zeroed(raw, at, 4)) == le.Uint32(raw[at:])
}

// bitmapChecksumOK compares a bitmap's checksum with the two halves that its
// descriptor holds; 32-byte descriptors hold only the low half.
func (f *FS) bitmapChecksumOK(bitmap []byte, stored uint32) bool {
	sum := crc32c(f.seed, bitmap)
	if f.sb.DescSize < 64 {
		sum &= 0xFFFF
	}
	return sum == stored
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
