package content

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
)

// Names of POSIX ACLs.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// namespaces are the prefixes of what Linux stores as it is.
var namespaces = []string{"user.", "trusted.", "security."}

// counted tells whether an attribute is in the text: whether a filesystem of Linux keeps it.
func counted(name string) bool {
	return isACL(name) || slices.ContainsFunc(namespaces, func(ns string) bool { return len(name) > len(ns) && strings.HasPrefix(name, ns) })
}

func isACL(name string) bool { return name == aclAccess || name == aclDefault }

// appendXattrs appends a word for each attribute, in byte order of their names.
func appendXattrs(b []byte, all map[string]string) []byte {
	if len(all) == 0 {
		return b
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !counted(name) {
			continue
		}
		value := all[name]
		if isACL(name) {
			value = kernelACL(value)
		}
		b = escape(append(b, ' '), name)
		b = hex.AppendEncode(append(b, '='), []byte(value))
	}
	return b
}

// kernelACL is an ACL as getxattr(2) gives it: entries that are about no named user or
// group have the id 0xffffffff, whatever was there when the ACL was set.
func kernelACL(value string) string {
	const user, group, undefined = 2, 8, 0xffffffff
	if len(value) < 4 || (len(value)-4)%8 != 0 {
		return value
	}
	b := []byte(value)
	for e := b[4:]; len(e) > 0; e = e[8:] {
		if tag := binary.LittleEndian.Uint16(e); tag != user && tag != group {
			binary.LittleEndian.PutUint32(e[4:], undefined)
		}
	}
	return string(b)
}
