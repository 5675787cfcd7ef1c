package ext4

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c continues a checksum as the kernel does, without the inversions before
// and after that hash/crc32 adds.
func crc32c(sum uint32, p []byte) uint32 {
	return ^crc32.Update(^sum, castagnoli, p)
}
