package guest

import (
	"bytes"
	"path"
	"slices"
)

// An applet is a program that a busybox has inside, and the name of its link.
// Links are where the binary itself says its installer would put them.
type applet string // path in the tree, such as "usr/bin/awk"

// Bounds of an applet table. Busybox has about 400 applets.
const (
	minApplets = 3
	maxApplets = 4096
	maxApplet  = 32 // bytes in a name
)

// applets reads the names of a busybox's applets, and where their links belong,
// from its bytes. It does not run it: it may be for another machine. nil means
// that there is no table that could be read.
//
// Busybox keeps the names as one string, each ended by a NUL, in byte order,
// with an empty name at the end. If it was configured to install links it also
// has an array of their folders, four bits for each, low bits first, in the same
// order. The array has no mark of its own; it is known by the folders of applets
// that have the same one everywhere.
func applets(binary []byte) []applet {
	names := appletNames(binary)
	if names == nil {
		return nil
	}
	dirs := appletDirs(binary, names)
	list := make([]applet, len(names))
	for i, name := range names {
		dir := "bin"
		if dirs != nil {
			dir = installDirs[dirs[i]]
		}
		list[i] = applet(path.Join(dir, name))
	}
	return list
}

// isAppletName tells names of applets: "[" and "[[" are two of them, the others
// begin with a letter.
func isAppletName(name []byte) bool {
	if s := string(name); s == "[" || s == "[[" {
		return true
	}
	for i, c := range name {
		letter := 'a' <= c && c <= 'z'
		if !letter && (i == 0 || !('0' <= c && c <= '9' || c == '.' || c == '_' || c == '-')) {
			return false
		}
	}
	return len(name) > 0
}

// appletNames finds the longest run of names in byte order that ends with an
// empty one and has an applet that no busybox lacks.
func appletNames(binary []byte) []string {
	var best []string
	for _, known := range []string{"cat", "ash", "sh", "busybox", "ls"} {
		mark := []byte("\x00" + known + "\x00")
		for at := 0; ; {
			i := bytes.Index(binary[at:], mark)
			if i < 0 {
				break
			}
			at += i + 1
			run, end := namesAround(binary, at)
			if len(run) > len(best) {
				best = run
			}
			at = max(at, end) // each table is read once for each of the known names
		}
	}
	if len(best) < minApplets {
		return nil
	}
	return best
}

// namesAround reads the run that the name at an offset belongs to, nil if what
// stands around it is no table. end is where the reading of names behind the
// offset came to.
func namesAround(binary []byte, at int) (names []string, end int) {
	last := ""
	for end = at; ; {
		n := bytes.IndexByte(binary[end:min(end+maxApplet+1, len(binary))], 0)
		if n < 0 {
			return nil, end
		}
		name := string(binary[end : end+n])
		if name == "" {
			break
		}
		if !isAppletName(binary[end:end+n]) || name <= last || len(names) == maxApplets {
			return nil, end
		}
		names, last, end = append(names, name), name, end+n+1
	}
	var before []string // backwards
	for first, start := names[0], at; len(names)+len(before) < maxApplets; {
		name := nameBefore(binary, start)
		if name == "" || name >= first {
			break
		}
		before, first = append(before, name), name
		start -= len(name) + 1
	}
	slices.Reverse(before)
	return append(before, names...), end
}

// nameBefore is the name that ends just before an offset, "" if there is none.
// The first name of the table may follow any byte.
func nameBefore(binary []byte, at int) string {
	if at < 2 || binary[at-1] != 0 {
		return ""
	}
	from := max(0, at-1-maxApplet)
	text := binary[from : at-1]
	if i := bytes.LastIndexByte(text, 0); i >= 0 {
		text = text[i+1:]
	}
	for ; len(text) > 0; text = text[1:] {
		if isAppletName(text) {
			return string(text)
		}
	}
	return ""
}

// installDirs are the folders of links in the order of their numbers in the
// array; the first is the root.
var installDirs = [...]string{".", "bin", "sbin", "usr/bin", "usr/sbin"}

// fixedDirs are applets whose folder is the same in every configuration.
var fixedDirs = map[string]byte{
	"[": 3, "ash": 1, "awk": 3, "cat": 1, "chroot": 4, "cp": 1, "env": 3, "head": 3, "ifconfig": 2, "kill": 1, "ls": 1,
	"mkdir": 1, "mount": 1, "ps": 1, "reboot": 2, "rm": 1, "sed": 1, "sh": 1, "sort": 3, "umount": 1, "wc": 3,
}

// minFixed is how many of fixedDirs must agree: fewer could do so by chance.
const minFixed = 6

// appletDirs finds the folders of the names, as indices into installDirs; nil if
// the binary does not say them, or says two things.
func appletDirs(binary []byte, names []string) []byte {
	type fixed struct {
		at  int
		dir byte
	}
	var known []fixed
	for i, name := range names {
		if dir, ok := fixedDirs[name]; ok {
			known = append(known, fixed{i, dir})
		}
	}
	if len(known) < minFixed {
		return nil
	}
	length := (len(names) + 1) / 2
	nibble := func(array []byte, i int) byte { return array[i/2] >> (4 * (i % 2)) & 15 }
	var found []byte
next:
	for from := 0; from+length <= len(binary); from++ {
		array := binary[from : from+length]
		for _, k := range known {
			if nibble(array, k.at) != k.dir {
				continue next
			}
		}
		for i := range 2 * length {
			if d := nibble(array, i); int(d) >= len(installDirs) || i >= len(names) && d != 0 {
				continue next
			}
		}
		if found != nil && !bytes.Equal(found, array) {
			return nil
		}
		found = array
	}
	if found == nil {
		return nil
	}
	dirs := make([]byte, len(names))
	for i := range dirs {
		dirs[i] = nibble(found, i)
	}
	return dirs
}
