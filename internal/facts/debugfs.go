package facts

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// FromDebugfs asks e2fsprogs' debugfs, the program at the path debugfs, about an ext4
// image. The image is opened read-only and nothing is mounted. Scratch is a
// folder for content while it is looked at.
func FromDebugfs(ctx context.Context, debugfs, image, scratch string, o Options) (Set, error) {
	d := debugReader{program: debugfs, image: image, scratch: scratch, o: o}
	inode, err := d.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing %q with debugfs: %w", image, err)
	}
	byInode, err := d.inodes(ctx, inode)
	if err != nil {
		return nil, fmt.Errorf("reading inodes of %q with debugfs: %w", image, err)
	}
	set := Set{}
	for name, ino := range inode {
		f := byInode[ino]
		f.Name = name
		set[name] = f
	}
	Group(set, inode)
	return set, nil
}

const rootInode = 2

type debugReader struct {
	program, image, scratch string
	o                       Options
}

// names walks the directories level by level and returns the inode of each name.
func (d *debugReader) names(ctx context.Context) (map[string]uint32, error) {
	inode := map[string]uint32{".": rootInode}
	for level := []string{"."}; len(level) > 0; {
		var commands []string
		for _, dir := range level {
			commands = append(commands, fmt.Sprintf("ls -p <%d>", inode[dir]))
		}
		outputs, err := d.run(ctx, commands)
		if err != nil {
			return nil, err
		}
		var below []string
		for i, dir := range level {
			entries, err := parseList(outputs[i])
			if err != nil {
				return nil, fmt.Errorf("directory %q: %w", dir, err)
			}
			for _, e := range entries {
				name := join(dir, e.name)
				if _, twice := inode[name]; twice {
					return nil, fmt.Errorf("directory %q has two entries %q", dir, e.name)
				}
				inode[name] = e.inode
				if e.dir {
					below = append(below, name)
				}
			}
		}
		level = below
	}
	return inode, nil
}

type entry struct {
	inode uint32
	dir   bool
	name  string
}

// parseList reads the output of "ls -p": records of /inode/mode/uid/gid/name/size/
// and a newline. A name has no slash, so it may hold anything else.
func parseList(out []byte) ([]entry, error) {
	// Each record follows a separator: nothing at first, then a newline.
	fields := strings.Split(string(out), "/")
	var entries []entry
	for ; len(fields) > 7; fields = fields[7:] {
		inode, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("parsing inode number %q", fields[1])
		}
		mode, err := strconv.ParseUint(fields[2], 8, 32)
		if err != nil {
			return nil, fmt.Errorf("parsing mode %q", fields[2])
		}
		name := fields[5]
		if inode == 0 || name == "." || name == ".." {
			continue
		}
		entries = append(entries, entry{uint32(inode), mode&0o170000 == 0o040000, name})
	}
	if len(fields) != 1 || strings.TrimSpace(fields[0]) != "" {
		return nil, fmt.Errorf("parsing list: %q is left over", fields)
	}
	return entries, nil
}

// inodes reads each inode once.
func (d *debugReader) inodes(ctx context.Context, names map[string]uint32) (map[uint32]Fact, error) {
	facts := map[uint32]Fact{}
	var order []uint32
	var commands []string
	for _, ino := range names {
		if _, seen := facts[ino]; !seen {
			facts[ino] = Fact{}
			order = append(order, ino)
			commands = append(commands, fmt.Sprintf("stat <%d>", ino))
		}
	}
	outputs, err := d.run(ctx, commands)
	if err != nil {
		return nil, err
	}
	var more []request
	for i, ino := range order {
		f, wanted, err := d.parseStat(outputs[i])
		if err != nil {
			return nil, fmt.Errorf("inode %d: %w", ino, err)
		}
		facts[ino] = f
		for _, w := range wanted {
			w.inode = ino
			more = append(more, w)
		}
	}
	return facts, d.fetch(ctx, facts, more)
}

// A request is for bytes that debugfs writes to a file of their own: content, the
// target of a long symbolic link, or the xattr of that name.
type request struct {
	inode uint32
	xattr string
}

// batch bounds how many files lie in the scratch folder at a time.
const batch = 256

func (d *debugReader) fetch(ctx context.Context, facts map[uint32]Fact, requests []request) error {
	for len(requests) > 0 {
		n := min(batch, len(requests))
		if err := d.fetchBatch(ctx, facts, requests[:n]); err != nil {
			return err
		}
		requests = requests[n:]
	}
	return nil
}

func (d *debugReader) fetchBatch(ctx context.Context, facts map[uint32]Fact, requests []request) error {
	dir, err := os.MkdirTemp(d.scratch, "debugfs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var commands []string
	for i, r := range requests {
		file := filepath.Join(dir, strconv.Itoa(i))
		if r.xattr != "" {
			commands = append(commands, fmt.Sprintf("ea_get -f %s <%d> %q", file, r.inode, r.xattr))
		} else {
			commands = append(commands, fmt.Sprintf("dump <%d> %s", r.inode, file))
		}
	}
	if _, err := d.run(ctx, commands); err != nil {
		return err
	}
	for i, r := range requests {
		f := facts[r.inode]
		if err := d.take(&f, r, filepath.Join(dir, strconv.Itoa(i))); err != nil {
			return fmt.Errorf("inode %d: %w", r.inode, err)
		}
		facts[r.inode] = f
	}
	return nil
}

// take puts what debugfs wrote to file into f.
func (d *debugReader) take(f *Fact, r request, file string) error {
	if r.xattr == "" && f.Type == "file" {
		fd, err := os.Open(file)
		if err != nil {
			return err
		}
		defer fd.Close()
		b, err := scan(fd, make([]byte, 1<<20))
		if d.o.Content {
			f.SHA256 = b.sum
		}
		if d.o.Extents == NonZero {
			f.Data = b.nonZero
		}
		return err
	}
	value, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if r.xattr == "" {
		f.Target = string(value)
		return nil
	}
	if strings.HasPrefix(r.xattr, "system.posix_acl_") {
		nameNobody(value)
	}
	f.Xattrs[r.xattr] = string(value)
	return nil
}

// nameNobody writes the id of ACL entries that have none as the kernel does, all ones
// where debugfs has zeros. An ACL is a 4-byte version and entries of tag, permissions
// (2 bytes each) and id (4 bytes), all little-endian.
func nameNobody(acl []byte) {
	const namedUser, namedGroup = 2, 8
	for i := 4; i+8 <= len(acl); i += 8 {
		if tag := binary.LittleEndian.Uint16(acl[i:]); tag != namedUser && tag != namedGroup {
			binary.LittleEndian.PutUint32(acl[i+4:], 1<<32-1)
		}
	}
}

var (
	statHead   = regexp.MustCompile(`(?m)^Inode: \d+   Type: (.*?) +Mode: +([0-7]+)   Flags: `)
	statOwner  = regexp.MustCompile(`(?m)^User: +(-?\d+)   Group: +(-?\d+)   Project: +-?\d+   Size: (\d+)$`)
	statLinks  = regexp.MustCompile(`(?m)^Links: (\d+) `)
	statMtime  = regexp.MustCompile(`(?m)^ mtime: 0x([0-9a-f]{8}):([0-9a-f]{8}) `)
	statDevice = regexp.MustCompile(`(?m)^(?:\(New-style\) )?Device major/minor number: (\d+):(\d+) `)
	statXattr  = regexp.MustCompile(`(?m)^  (\S+) \((\d+)\)(?: = |$)`)
	statExtent = regexp.MustCompile(`\((\d+)(?:-(\d+))?(\[u\])?\):`)
)

var debugTypes = map[string]string{
	"regular": "file", "directory": "dir", "symlink": "symlink", "character special": "char",
	"block special": "block", "FIFO": "fifo", "socket": "socket",
}

// parseStat reads the output of "stat" and says what must be asked for separately.
func (d *debugReader) parseStat(out []byte) (Fact, []request, error) {
	text := string(out)
	head, owner := statHead.FindStringSubmatch(text), statOwner.FindStringSubmatch(text)
	links, mtime := statLinks.FindStringSubmatch(text), statMtime.FindStringSubmatch(text)
	if head == nil || owner == nil || links == nil || mtime == nil {
		return Fact{}, nil, fmt.Errorf("parsing stat output %q", text)
	}
	f := Fact{Type: debugTypes[head[1]], Mtime: parseTime(mtime[1], mtime[2])}
	if f.Type == "" {
		return Fact{}, nil, fmt.Errorf("unknown type %q", head[1])
	}
	mode, _ := strconv.ParseUint(head[2], 8, 32)
	f.Mode = uint32(mode) & 0o7777
	// debugfs prints owners as signed numbers.
	uid, _ := strconv.ParseInt(owner[1], 10, 64)
	gid, _ := strconv.ParseInt(owner[2], 10, 64)
	f.UID, f.GID = uint32(uid), uint32(gid)
	size, err := strconv.ParseInt(owner[3], 10, 64)
	if err != nil {
		return Fact{}, nil, fmt.Errorf("parsing size: %w", err)
	}
	if f.Type != "dir" {
		f.Links, _ = strconv.ParseUint(links[1], 10, 64)
	}
	var more []request
	switch f.Type {
	case "file":
		f.Size = size
		if d.o.Extents == Mapped {
			f.Data = parseExtents(text, size)
		}
		if d.o.Content || d.o.Extents == NonZero {
			more = append(more, request{})
		}
	case "symlink":
		if f.Target, err = fastTarget(text, size); err != nil {
			more = append(more, request{})
		}
	case "char", "block":
		m := statDevice.FindStringSubmatch(text)
		if m == nil {
			return Fact{}, nil, errors.New("no device number")
		}
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		f.Rdev = fmt.Sprintf("%d:%d", major, minor)
	}
	for _, name := range parseXattrs(text) {
		if f.Xattrs == nil {
			f.Xattrs = map[string]string{}
		}
		f.Xattrs[name] = ""
		more = append(more, request{xattr: name})
	}
	return f, more, nil
}

// parseTime reads an ext4 time and its extra word: 2 bits of epoch, 30 of nanoseconds.
func parseTime(seconds, extra string) Time {
	s, _ := strconv.ParseUint(seconds, 16, 32)
	x, _ := strconv.ParseUint(extra, 16, 32)
	return Time{int64(int32(uint32(s))) + int64(x&3)<<32, int64(x >> 2)}
}

// fastTarget finds the target that is stored in the inode itself.
func fastTarget(text string, size int64) (string, error) {
	const mark = "Fast link dest: \""
	at := strings.LastIndex(text, mark)
	if at < 0 {
		return "", errors.New("not a fast symbolic link")
	}
	rest := text[at+len(mark):]
	if int64(len(rest)) < size {
		return "", fmt.Errorf("target of %d bytes is cut off", size)
	}
	return rest[:size], nil
}

// parseXattrs returns the names in the section of extended attributes.
func parseXattrs(text string) []string {
	_, section, ok := strings.Cut(text, "\nExtended attributes:\n")
	if !ok {
		return nil
	}
	var names []string
	for line := range strings.SplitSeq(section, "\n") {
		m := statXattr.FindStringSubmatch(line)
		if m == nil {
			break
		}
		names = append(names, m[1])
	}
	return names
}

// parseExtents returns the initialized extents within size bytes.
func parseExtents(text string, size int64) extents {
	_, section, ok := strings.Cut(text, "\nEXTENTS:\n")
	if !ok {
		return nil
	}
	var out extents
	for _, m := range statExtent.FindAllStringSubmatch(section, -1) {
		first, _ := strconv.ParseInt(m[1], 10, 64)
		last := first
		if m[2] != "" {
			last, _ = strconv.ParseInt(m[2], 10, 64)
		}
		if start, end := first*Block, min((last+1)*Block, roundUp(size)); m[3] == "" && start < end {
			out.add(start, end)
		}
	}
	return out
}

// run gives debugfs all commands at once and returns the output of each.
func (d *debugReader) run(ctx context.Context, commands []string) ([][]byte, error) {
	script := filepath.Join(d.scratch, "commands")
	text := strings.Join(commands, "\n") + "\n"
	if err := os.WriteFile(script, []byte(text), 0o600); err != nil {
		return nil, err
	}
	defer os.Remove(script)
	cmd := exec.CommandContext(ctx, d.program, "-f", script, d.image)
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "DEBUGFS_PAGER=__none__"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	if message := complaint(stderr.String()); message != "" {
		return nil, errors.New(message)
	}
	return splitEcho(out, commands)
}

// complaint drops the banner that debugfs prints on stderr.
func complaint(stderr string) string {
	_, rest, _ := strings.Cut(stderr, "\n")
	return strings.TrimFunc(rest, unicode.IsSpace)
}

// splitEcho cuts the output at the commands, each of which debugfs echoes on a line
// of its own.
func splitEcho(out []byte, commands []string) ([][]byte, error) {
	parts := make([][]byte, len(commands))
	for i, c := range commands {
		echo := "debugfs: " + c + "\n"
		if !bytes.HasPrefix(out, []byte(echo)) {
			return nil, fmt.Errorf("command %q: output starts with %.80q", c, out)
		}
		out = out[len(echo):]
		end := len(out)
		if i+1 < len(commands) {
			end = bytes.Index(out, []byte("debugfs: "+commands[i+1]+"\n"))
			if end < 0 {
				return nil, fmt.Errorf("command %q: no output", commands[i+1])
			}
		}
		parts[i], out = out[:end], out[end:]
	}
	return parts, nil
}
