package deflate

import (
	"encoding/binary"
	"hash/crc32"
)

// trailer is what ends a gzip member of data.
func trailer(data []byte) []byte {
	t := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(data))
	return binary.LittleEndian.AppendUint32(t, uint32(len(data)))
}
