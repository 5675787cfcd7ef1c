package ext4read

import (
	"fmt"
)

const (
	xattrMagic = 0xEA020000

	// Name indexes: the part of an attribute's name that is not spelled out.
	indexACLAccess  = 2
	indexACLDefault = 3
	indexSystem     = 7
)

var xattrPrefixes = map[uint8]string{
	0: "", 1: "user.", indexACLAccess: "system.posix_acl_access", indexACLDefault: "system.posix_acl_default",
	4: "trusted.", 5: "lustre.", 6: "security.", indexSystem: "system.", 8: "system.richacl",
}

// An xattrEntry is one attribute as stored.
type xattrEntry struct {
	index  uint8
	name   string // without what index stands for
	offset int    // of the value, from the start of the area
	value  []byte
	hash   uint32
}

func (e *xattrEntry) isInlineData() bool { return e.index == indexSystem && e.name == "data" }

// ibodyXattrs gives the entries after an inode's fields; base is where value
// offsets count from.
func (in *Inode) ibodyXattrs() ([]xattrEntry, error) {
	start := 128 + in.extraSize()
	if in.extraSize() == 0 || start+4 > len(in.raw) || le.Uint32(in.raw[start:]) != xattrMagic {
		return nil, nil
	}
	list, _, err := parseXattrs(in.raw[start+4:], 0)
	if err != nil {
		return nil, fmt.Errorf("attributes in the inode: %w", err)
	}
	return list, nil
}

// blockXattrs reads an inode's attribute block.
func (in *Inode) blockXattrs() ([]xattrEntry, []byte, error) {
	if in.xattrBlock == 0 {
		return nil, nil, nil
	}
	f := in.f
	raw, err := f.readBlock(in.xattrBlock, "attribute block")
	if err != nil {
		return nil, nil, err
	}
	bad := func(err error) ([]xattrEntry, []byte, error) {
		return nil, nil, fmt.Errorf("attribute block %d: %w", in.xattrBlock, err)
	}
	if m, n := le.Uint32(raw), le.Uint32(raw[8:]); m != xattrMagic || n != 1 {
		return bad(fmt.Errorf("magic is %#08x and length %d blocks, want %#08x and 1: %w", m, n, xattrMagic, ErrCorrupt))
	}
	if f.opt.Verify && f.sb.has(roMetadataCsum) && !f.xattrBlockChecksumOK(in.xattrBlock, raw) {
		return bad(fmt.Errorf("checksum does not match: %w", ErrCorrupt))
	}
	list, _, err := parseXattrs(raw, 32)
	if err != nil {
		return bad(err)
	}
	return list, raw, nil
}

// parseXattrs decodes the entries from pos on; value offsets count from the
// start of area. It returns the position of the terminator too.
func parseXattrs(area []byte, pos int) ([]xattrEntry, int, error) {
	var list []xattrEntry
	for {
		if pos+4 > len(area) {
			return nil, 0, fmt.Errorf("entry %d: no terminator: %w", len(list), ErrCorrupt)
		}
		if le.Uint32(area[pos:]) == 0 {
			break
		}
		nameLen := int(area[pos])
		next := pos + 16 + (nameLen+3)&^3
		if next > len(area) {
			return nil, 0, fmt.Errorf("entry %d: name of %d bytes leaves the area: %w", len(list), nameLen, ErrCorrupt)
		}
		if inum := le.Uint32(area[pos+4:]); inum != 0 {
			return nil, 0, fmt.Errorf("entry %d: value in inode %d (feature ea_inode): %w", len(list), inum, ErrUnsupported)
		}
		e := xattrEntry{
			index: area[pos+1], name: string(area[pos+16 : pos+16+nameLen]),
			offset: int(le.Uint16(area[pos+2:])), hash: le.Uint32(area[pos+12:]),
		}
		size := uint64(le.Uint32(area[pos+8:]))
		if uint64(e.offset)+size > uint64(len(area)) {
			return nil, 0, fmt.Errorf("entry %d: value of %d bytes at %d leaves the area: %w", len(list), size, e.offset, ErrCorrupt)
		}
		e.value = area[e.offset : e.offset+int(size)]
		list = append(list, e)
		pos = next
	}
	for i, e := range list {
		if len(e.value) > 0 && e.offset < pos+4 {
			return nil, 0, fmt.Errorf("entry %d: value at %d overlaps the entries: %w", i, e.offset, ErrCorrupt)
		}
	}
	return list, pos, nil
}

// loadXattrs fills Xattrs and inline.
func (in *Inode) loadXattrs() error {
	body, err := in.ibodyXattrs()
	if err != nil {
		return err
	}
	block, _, err := in.blockXattrs()
	if err != nil {
		return err
	}
	for _, e := range append(body, block...) {
		if e.isInlineData() && in.Flags&FlagInlineData != 0 {
			in.inline = e.value
			continue
		}
		name, value, err := e.decode()
		if err != nil {
			return err
		}
		if _, dup := in.Xattrs[name]; dup {
			return fmt.Errorf("attribute %q occurs twice: %w", name, ErrCorrupt)
		}
		if in.Xattrs == nil {
			in.Xattrs = map[string]string{}
		}
		in.Xattrs[name] = value
	}
	return nil
}

// decode gives an attribute's full name and the value as getxattr(2) returns it.
func (e *xattrEntry) decode() (name, value string, err error) {
	prefix, ok := xattrPrefixes[e.index]
	if !ok {
		return "", "", fmt.Errorf("attribute %q: name index %d: %w", e.name, e.index, ErrUnsupported)
	}
	name = prefix + e.name
	if e.index != indexACLAccess && e.index != indexACLDefault {
		if e.name == "" && e.index != 8 {
			return "", "", fmt.Errorf("attribute %q: empty name: %w", name, ErrCorrupt)
		}
		return name, string(e.value), nil
	}
	if e.name != "" {
		return "", "", fmt.Errorf("attribute %q: name after an ACL's index: %w", name, ErrCorrupt)
	}
	wire, err := aclToWire(e.value)
	if err != nil {
		return "", "", fmt.Errorf("attribute %q: %w", name, err)
	}
	return name, wire, nil
}

// aclToWire converts ext4's compact ACL (version 1, an id only for named users
// and groups) to the form of setxattr(2) (version 2, an id in every entry).
func aclToWire(disk []byte) (string, error) {
	const (
		namedUser, namedGroup = 0x02, 0x08
		undefinedID           = ^uint32(0)
	)
	if len(disk) < 4 || le.Uint32(disk) != 1 {
		return "", fmt.Errorf("ACL %x is not of version 1: %w", disk, ErrCorrupt)
	}
	wire := le.AppendUint32(nil, 2)
	for rest := disk[4:]; len(rest) > 0; {
		if len(rest) < 4 {
			return "", fmt.Errorf("ACL %x ends inside an entry: %w", disk, ErrCorrupt)
		}
		tag, id, size := le.Uint16(rest), undefinedID, 4
		switch tag {
		case 0x01, 0x04, 0x10, 0x20: // owner, owning group, mask, other
		case namedUser, namedGroup:
			if size = 8; len(rest) < size {
				return "", fmt.Errorf("ACL %x ends inside an entry: %w", disk, ErrCorrupt)
			}
			id = le.Uint32(rest[4:])
		default:
			return "", fmt.Errorf("ACL %x has an entry with tag %#x: %w", disk, tag, ErrCorrupt)
		}
		wire = append(wire, rest[:4]...)
		wire = le.AppendUint32(wire, id)
		rest = rest[size:]
	}
	return string(wire), nil
}
