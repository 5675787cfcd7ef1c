package loop

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// A LimitError is a value of one path that the filesystem or its kernel cannot hold.
type LimitError struct {
	Type   Type
	Name   string // path in the image
	What   string // the value and its limit
	Advice string // what to do, or ""
}

func (e *LimitError) Error() string {
	s := fmt.Sprintf("%s cannot hold %q: %s", e.Type, "/"+e.Name, e.What)
	if e.Advice != "" {
		s += "; " + e.Advice
	}
	return s
}

// limits are those of a filesystem as Linux has it.
type limits struct {
	links            int    // of one inode
	target           int    // of a symlink, in bytes
	xattr            int    // of a value with its name, in bytes
	major, minor     uint32 // device number
	minTime, maxTime time.Time
}

const (
	maxXattrName  = 255     // XATTR_NAME_MAX, in bytes, the prefix included
	maxXattrValue = 1 << 16 // XATTR_SIZE_MAX, in bytes
)

var typeLimits = map[Type]limits{
	// bigtime: 64 bits of nanoseconds from the earliest time that 32 bits of seconds hold.
	XFS: {major: 1<<9 - 1, minor: 1<<18 - 1, links: 1<<31 - 1, target: 1023, xattr: maxXattrName + maxXattrValue, minTime: time.Unix(-1<<31, 0).UTC(), maxTime: time.Unix(16299260424, 0).UTC()},
	// An xattr is one item of a leaf. Times have 64 bits of seconds; the limits are those
	// of RFC 3339, which messages and other tools can show.
	Btrfs: {major: 1<<12 - 1, minor: 1<<20 - 1, links: 65535, target: 4095, xattr: btrfsNode - 101 - 25 - 30, minTime: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), maxTime: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
}

// xattrPrefixes are the namespaces of Linux. Names without one do not exist there.
var xattrPrefixes = []string{"user.", "trusted.", "security."}

// ACLs, which are xattrs to programs.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// sgiACL begins the names that xfs has for ACLs, which it shows to root beside the usual
// ones.
const sgiACL = "trusted.SGI_ACL_"

func knownXattr(name string) bool {
	return name == aclAccess || name == aclDefault || slices.ContainsFunc(xattrPrefixes, func(p string) bool {
		return strings.HasPrefix(name, p) && len(name) > len(p)
	})
}

// keepsXattr tells whether Linux lets a node have an xattr.
func keepsXattr(n *tree.Node, name string) bool {
	mode := n.Mode.Type()
	switch {
	case strings.HasPrefix(name, "user."):
		return mode == 0 || mode == fs.ModeDir
	case name == aclAccess:
		return mode != fs.ModeSymlink
	case name == aclDefault:
		return mode == fs.ModeDir
	}
	return true
}

// checkNode refuses what the filesystem cannot hold.
func (w *writer) checkNode(name string, n *tree.Node) error {
	l := typeLimits[w.opt.Type]
	limit := func(advice, format string, args ...any) error {
		return &LimitError{w.opt.Type, name, fmt.Sprintf(format, args...), advice}
	}
	switch mode := n.Mode.Type(); {
	case mode != fs.ModeDir && n.Links() > l.links:
		return limit("", "%d hard links, the limit is %d", n.Links(), l.links)
	case n.ModTime.Before(l.minTime) || n.ModTime.After(l.maxTime):
		return limit("set another time in the image", "modification time %s, the limits are %s and %s",
			n.ModTime.UTC().Format(time.RFC3339), l.minTime.Format(time.RFC3339), l.maxTime.Format(time.RFC3339))
	case mode == fs.ModeSymlink && (n.Target == "" || len(n.Target) > l.target):
		return limit("", "a symlink target of %d bytes, the limits are 1 and %d", len(n.Target), l.target)
	case strings.IndexByte(n.Target, 0) >= 0:
		return limit("", "a symlink target with a NUL byte")
	case mode&fs.ModeDevice != 0 && (n.Rdev.Major > l.major || n.Rdev.Minor > l.minor):
		return limit("", "device number %d:%d, the limit is %d:%d", n.Rdev.Major, n.Rdev.Minor, l.major, l.minor)
	}
	for x, value := range n.Xattrs {
		switch {
		case strings.IndexByte(x, 0) >= 0:
			return limit("", "an xattr name with a NUL byte, %q", x)
		case !knownXattr(x): // warned of
		case w.opt.Type == XFS && strings.HasPrefix(x, sgiACL):
			return limit("remove it", "xattr %q, which is how xfs itself names an ACL", x)
		case len(x) > maxXattrName:
			return limit("", "an xattr name of %d bytes, the limit is %d", len(x), maxXattrName)
		case len(value) > maxXattrValue || len(x)+len(value) > l.xattr:
			return limit("remove or shorten it", "xattr %q of %d bytes, the limit is %d", x, len(value), min(maxXattrValue, l.xattr-len(x)))
		}
	}
	return nil
}

// warnXattrs tells of attributes that are left out.
func (w *writer) warnXattrs(name string, n *tree.Node) {
	var unknown, refused []string
	for x := range n.Xattrs {
		switch {
		case !knownXattr(x):
			unknown = append(unknown, x)
		case !keepsXattr(n, x):
			refused = append(refused, x)
		}
	}
	slices.Sort(unknown)
	slices.Sort(refused)
	if unknown != nil {
		w.warn("dropped xattr %q of %q: Linux has no such namespace", unknown, "/"+name)
	}
	if refused != nil {
		w.warn("dropped xattr %q of %q: Linux has them for files and folders only, and default ACLs for folders", refused, "/"+name)
	}
}
