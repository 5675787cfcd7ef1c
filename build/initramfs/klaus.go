package initramfs

import (
	"bytes"

	"github.com/klauspost/compress/flate"
)

func appendDeflate(dst, data []byte, start int, final bool, level int) []byte {
	out := bytes.NewBuffer(dst)
	w, err := flate.NewWriterDict(out, level, data[:start])
	if err != nil {
		panic(err)
	}
	w.Write(data[start:])
	if final {
		w.Close()
	} else {
		w.Flush()
	}
	return out.Bytes()
}
