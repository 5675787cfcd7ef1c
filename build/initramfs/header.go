package initramfs

import (
	"fmt"
	"math"
)

// A newc record is a header, the name with a NUL, padding, the body, padding. The
// header is a 6-byte magic and 13 fields of 8 upper-case hex digits.
// https://docs.kernel.org/driver-api/early-userspace/buffer-format.html
const (
	newcMagic  = "070701"
	headerSize = 6 + 13*8 // bytes
	align      = 4        // where header with name, and body, end
	trailer    = "TRAILER!!!"

	maxField  = math.MaxUint32
	maxOwner  = maxField - 1 // chown takes the last one for "leave it as it is"
	maxMajor  = 1<<12 - 1    // of a device number in Linux
	maxMinor  = 1<<20 - 1
	maxName   = 4095 // bytes without the NUL; the kernel passes over longer ones
	maxTarget = 4095
)

// A FieldError reports a value of one path that newc, or the kernel's reader of
// it, cannot hold.
type FieldError struct {
	Name         string // path in the archive
	Field        string // as in the format's description
	Value, Limit int64  // 0 to Limit would fit
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("an initramfs cannot hold %q: %s %d, the limits are 0 and %d", slashed(e.Name), e.Field, e.Value, e.Limit)
}

// slashed is a name as messages show it.
func slashed(name string) string {
	if name == "." {
		return "/"
	}
	return "/" + name
}

// header is one record's header. The fields are wider than the format's so that
// what does not fit is seen. c_devmajor and c_devminor are always 0.
type header struct {
	ino, mode, uid, gid, nlink, mtime, filesize int64
	rdevMajor, rdevMinor                        int64
	name                                        string
}

// append encodes the header with its name and padding.
func (h *header) append(dst []byte) ([]byte, error) {
	dst = append(dst, newcMagic...)
	for _, f := range [13]struct {
		name         string
		value, limit int64
	}{
		{"c_ino", h.ino, maxField},
		{"c_mode", h.mode, maxField},
		{"c_uid", h.uid, maxOwner},
		{"c_gid", h.gid, maxOwner},
		{"c_nlink", h.nlink, maxField},
		{"c_mtime", h.mtime, maxField},
		{"c_filesize", h.filesize, maxField},
		{"c_devmajor", 0, maxMajor},
		{"c_devminor", 0, maxMinor},
		{"c_rdevmajor", h.rdevMajor, maxMajor},
		{"c_rdevminor", h.rdevMinor, maxMinor},
		{"c_namesize", int64(len(h.name)) + 1, maxName + 1},
		{"c_check", 0, maxField},
	} {
		if f.value < 0 || f.value > f.limit {
			return nil, &FieldError{h.name, f.name, f.value, f.limit}
		}
		dst = appendHex(dst, uint32(f.value))
	}
	dst = append(append(dst, h.name...), 0)
	return append(dst, padding(headerSize+int64(len(h.name))+1)...), nil
}

func appendHex(dst []byte, v uint32) []byte {
	const digits = "0123456789ABCDEF"
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, digits[v>>shift&15])
	}
	return dst
}

// padding is what has to follow n bytes.
func padding(n int64) []byte { return make([]byte, -n&(align-1)) }
