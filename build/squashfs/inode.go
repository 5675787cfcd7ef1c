package squashfs

import (
	"encoding/binary"
	"io/fs"
	"math"

	"github.com/volant/fledge-action/build/tree"
)

// Types of inodes. The extended ones are extended more.
const (
	typeDir      = 1
	typeFile     = 2
	typeSymlink  = 3
	typeBlock    = 4
	typeChar     = 5
	typeFIFO     = 6
	typeSocket   = 7
	extended     = 7
	dirSizeExtra = 3 // a directory's size counts "." and ".." as this many bytes
)

// basicType is a node's type in a directory, and in an inode without extras.
func basicType(m fs.FileMode) uint16 {
	switch m.Type() {
	case fs.ModeDir:
		return typeDir
	case fs.ModeSymlink:
		return typeSymlink
	case fs.ModeDevice:
		return typeBlock
	case fs.ModeDevice | fs.ModeCharDevice:
		return typeChar
	case fs.ModeNamedPipe:
		return typeFIFO
	case fs.ModeSocket:
		return typeSocket
	}
	return typeFile
}

// header begins every inode.
func (p *plan) header(in *inode, kind uint16) []byte {
	le, n := binary.LittleEndian, in.node
	b := le.AppendUint16(nil, kind)
	b = le.AppendUint16(b, uint16(tree.UnixMode(n.Mode)&0o7777))
	b = le.AppendUint16(b, p.owners.index[n.UID])
	b = le.AppendUint16(b, p.owners.index[n.GID])
	b = le.AppendUint32(b, uint32(clampTime(n.ModTime)))
	return le.AppendUint32(b, in.number)
}

// encode gives the inode of anything but a directory.
func (p *plan) encode(in *inode) []byte {
	n := in.node
	if n.Mode.IsRegular() {
		return p.encodeFile(in)
	}
	le, kind := binary.LittleEndian, basicType(n.Mode)
	if in.xattr != noXattr {
		kind += extended
	}
	b := le.AppendUint32(p.header(in, kind), uint32(n.Links()))
	switch {
	case n.Mode.Type() == fs.ModeSymlink:
		b = append(le.AppendUint32(b, uint32(len(n.Target))), n.Target...)
	case n.Mode&fs.ModeDevice != 0:
		b = le.AppendUint32(b, device(n.Rdev))
	}
	if in.xattr != noXattr {
		b = le.AppendUint32(b, in.xattr)
	}
	return b
}

// device is a device number as Linux keeps it in 32 bits.
func device(r tree.Rdev) uint32 { return r.Minor&0xff | r.Major<<8 | r.Minor&^0xff<<12 }

func (p *plan) encodeFile(in *inode) []byte {
	le, n, d := binary.LittleEndian, in.node, in.data
	var b []byte
	if n.Links() > 1 || in.xattr != noXattr || d.holes > 0 || d.start > math.MaxUint32 || n.Size() > math.MaxUint32 {
		b = p.header(in, typeFile+extended)
		b = le.AppendUint64(b, uint64(d.start))
		b = le.AppendUint64(b, uint64(n.Size()))
		b = le.AppendUint64(b, uint64(d.holes))
		b = le.AppendUint32(b, uint32(n.Links()))
		b = le.AppendUint32(b, d.fragment)
		b = le.AppendUint32(b, d.offset)
		b = le.AppendUint32(b, in.xattr)
	} else {
		b = p.header(in, typeFile)
		b = le.AppendUint32(b, uint32(d.start))
		b = le.AppendUint32(b, d.fragment)
		b = le.AppendUint32(b, d.offset)
		b = le.AppendUint32(b, uint32(n.Size()))
	}
	for _, size := range d.blocks {
		b = le.AppendUint32(b, size)
	}
	return b
}

// encodeDir gives the inode of a directory whose names have been listed.
func (p *plan) encodeDir(in *inode, parent uint32, l *listing) []byte {
	le := binary.LittleEndian
	links, size := uint32(2), l.size+dirSizeExtra
	for _, c := range in.node.Children() {
		if c.Mode.IsDir() {
			links++
		}
	}
	if in.xattr == noXattr && len(l.index) == 0 && size <= math.MaxUint16 {
		b := le.AppendUint32(p.header(in, typeDir), uint32(l.start.block()))
		b = le.AppendUint32(b, links)
		b = le.AppendUint16(b, uint16(size))
		b = le.AppendUint16(b, l.start.offset())
		return le.AppendUint32(b, parent)
	}
	b := le.AppendUint32(p.header(in, typeDir+extended), links)
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(l.start.block()))
	b = le.AppendUint32(b, parent)
	b = le.AppendUint16(b, uint16(len(l.index)))
	b = le.AppendUint16(b, l.start.offset())
	b = le.AppendUint32(b, in.xattr)
	for _, x := range l.index {
		b = le.AppendUint32(b, uint32(x.at))
		b = le.AppendUint32(b, uint32(x.block))
		b = le.AppendUint32(b, uint32(len(x.name)-1))
		b = append(b, x.name...)
	}
	return b
}
