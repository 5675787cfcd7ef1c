package xfsread

import "fmt"

const (
	logMagic       = 0xfeedbabe
	logHeaderData  = 32 << 10 // bytes of a record that one header sector is for
	logUnmountFlag = 0x20
	logMaxRecord   = 256 << 10 // and its headers are one more sector for each 32 KiB
)

// cleanLog refuses an image whose log has more than what is in place already: one that
// does not end in the record of an unmount.
func (f *FS) cleanLog() error {
	l := logReader{f: f, sectors: int64(f.sb.LogBlocks) << f.sb.blockLog >> 9}
	var err error
	if l.at, err = f.place(f.sb.LogStart, uint64(f.sb.LogBlocks)); err != nil {
		return err
	}
	head, err := l.head()
	if err != nil {
		return err
	}
	clean, err := l.unmounted(head)
	if err == nil && !clean {
		err = fmt.Errorf("the filesystem was not unmounted, and what was written last is only here; mount and unmount it once, or run xfs_repair -L on it, which may lose that: %w", ErrUnsupported)
	}
	return err
}

type logReader struct {
	f       *FS
	at      int64 // of the log in the image
	sectors int64
	b       [512]byte // the last sector read
}

func (l *logReader) read(sector int64) error {
	return l.f.readAt(l.b[:], l.at+sector<<9, "log")
}

// cycle is how often the log had been written through when a sector was written.
func (l *logReader) cycle(sector int64) (uint32, error) {
	err := l.read(sector)
	if v := be.Uint32(l.b[:]); v != logMagic {
		return v, err
	}
	return be.Uint32(l.b[4:]), err
}

// head finds the sector that will be written next: the first one of the cycle before.
func (l *logReader) head() (int64, error) {
	first, err := l.cycle(0)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), l.sectors // low is of this cycle; high is not, or the end
	for high-low > 1 {
		middle := low + (high-low)/2
		c, err := l.cycle(middle)
		if err != nil {
			return 0, err
		}
		if c == first {
			low = middle
		} else {
			high = middle
		}
	}
	return high, nil
}

// unmounted tells whether the last record before the head says that the filesystem was
// unmounted.
func (l *logReader) unmounted(head int64) (bool, error) {
	const farthest = logMaxRecord>>9 + logMaxRecord/logHeaderData + 1
	for back := int64(1); back <= min(farthest, l.sectors); back++ {
		at := (head - back + l.sectors) % l.sectors
		if err := l.read(at); err != nil {
			return false, err
		}
		if be.Uint32(l.b[:]) != logMagic {
			continue
		}
		length, ops, headers := int64(be.Uint32(l.b[12:])), be.Uint32(l.b[40:]), int64(1)
		if room := int64(be.Uint32(l.b[320:])); be.Uint32(l.b[8:])&2 != 0 && room > logHeaderData {
			headers = (room + logHeaderData - 1) / logHeaderData
		}
		if ops != 1 || back != headers+(length+511)>>9 {
			return false, nil
		}
		err := l.read((at + headers) % l.sectors)
		return l.b[9]&logUnmountFlag != 0, err
	}
	return false, nil
}
