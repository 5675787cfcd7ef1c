package cli

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build/content"
	"github.com/volant/fledge-action/internal/artifact"
)

type inspectFlags struct {
	cat                  string
	json, check, content bool
}

func (p *Program) inspectCommand() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect ARTIFACT [PATH...]",
		Short: "Show what is in an artifact",
		Long: `Show what is in an artifact: an ext4, squashfs, xfs or btrfs image, or a newc archive that is plain or compressed with gzip or zstd.

It needs no root and no mount. What the file is its bytes decide, not its name. Without PATH everything is listed, else each PATH and
what is below it. A name that is not plain is shown as a quoted string. See docs/inspect.md.`,
		Example: `  fledge inspect nginx.img
  fledge inspect plugin.cpio.gz /etc/nginx
  fledge inspect --cat /etc/nginx/nginx.conf nginx.img
  fledge inspect --check nginx.img
  fledge inspect --content-digest nginx.img`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usageError{errors.New("no artifact given (see 'fledge inspect --help')")}
			case f.cat != "" && (f.json || f.check):
				return usageError{errors.New("--cat excludes --json and --check")}
			case f.content && (f.cat != "" || f.check || len(args) > 1):
				return usageError{errors.New("--content-digest is of the whole artifact: it excludes --cat, --check and PATH")}
			case (f.cat != "" || f.check) && len(args) > 1:
				return usageError{fmt.Errorf("unexpected argument %q: --cat and --check take the artifact alone", args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return p.inspect(cmd.Context(), args[0], args[1:], f) },
	}
	cmd.Flags().StringVar(&f.cat, "cat", "", "write the content of the file at `path` to standard output, through symbolic links")
	cmd.Flags().BoolVar(&f.json, "json", false, "print everything as JSON")
	cmd.Flags().BoolVar(&f.check, "check", false, "look for inconsistencies instead of listing; exit with 1 if there are any")
	cmd.Flags().BoolVar(&f.content, "content-digest", false, "print the digest of what the artifact holds, which is the same in every format, instead of listing; with --json in addition")
	return cmd
}

func (p *Program) inspect(ctx context.Context, name string, paths []string, f inspectFlags) error {
	file, size, err := openFile(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := p.inspectFile(ctx, file, size, paths, f); err != nil {
		return fmt.Errorf("%s: %w", shown(name), err)
	}
	return nil
}

func (p *Program) inspectFile(ctx context.Context, file *os.File, size int64, paths []string, f inspectFlags) error {
	if f.check {
		return p.check(ctx, file, size, f.json)
	}
	var sp spool
	defer sp.Close()
	opt := artifact.Options{Verify: true}
	if f.content {
		opt.Spool = &sp // every file is read
	}
	a, err := artifact.Open(ctx, file, size, opt)
	if err != nil {
		return err
	}
	digest := ""
	if f.content {
		if digest, err = a.ContentDigest(ctx, content.Options{MaxBytes: maxContent}); err != nil {
			return err
		}
		if !f.json {
			_, err = fmt.Fprintln(p.Stdout, digest)
			return err
		}
	}
	if f.cat != "" {
		return p.cat(ctx, a, f.cat)
	}
	list, err := chosen(a, paths)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(p.Stdout)
	if f.json {
		err = printInspectJSON(ctx, w, artifactJSON{file.Name(), a.Format(), a.Size, digest}, a, list)
	} else {
		err = printListing(ctx, w, file.Name(), a, list)
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// cat writes one file's content.
func (p *Program) cat(ctx context.Context, a *artifact.Artifact, name string) error {
	e, err := a.Resolve(name, true)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no such file in the artifact: %w", err)
	}
	if err != nil {
		return err
	}
	if e.Type != artifact.File {
		return fmt.Errorf("%q is a %s, which has no content", name, e.Type)
	}
	r, err := a.Content(ctx, e)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(p.Stdout, contextReader{ctx, r})
	if err == nil && n != e.Size {
		err = fmt.Errorf("reading %q: %d of %d bytes: %w", e.Name, n, e.Size, io.ErrUnexpectedEOF)
	}
	return err
}

// contextReader ends when a context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// check looks for what is wrong with an artifact.
func (p *Program) check(ctx context.Context, file *os.File, size int64, asJSON bool) error {
	problems, err := artifact.Check(ctx, file, size, artifact.Options{})
	if err != nil {
		return err
	}
	if asJSON {
		b, err := marshal(struct {
			Artifact artifactJSON `json:"artifact"`
			Problems []string     `json:"problems"`
		}{artifactJSON{Path: file.Name(), Size: size}, append([]string{}, problems...)}, "", "  ")
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(p.Stdout, "%s\n", b); err != nil {
			return err
		}
	} else {
		for _, x := range problems {
			if _, err := fmt.Fprintln(p.Stdout, oneLine(x)); err != nil {
				return err
			}
		}
	}
	if n := len(problems); n > 0 {
		return fmt.Errorf("%d problems found", n)
	}
	if !asJSON {
		_, err = fmt.Fprintln(p.Stdout, "no problems found")
	}
	return err
}

// chosen is what the paths name, with everything below; all without paths.
func chosen(a *artifact.Artifact, paths []string) ([]*artifact.Entry, error) {
	if len(paths) == 0 {
		return a.Entries, nil
	}
	roots := map[string]bool{}
	for _, arg := range paths {
		e, err := a.Resolve(arg, false)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no such file in the artifact: %w", err)
		}
		if err != nil {
			return nil, err
		}
		roots[e.Name] = true
	}
	if roots["."] {
		return a.Entries, nil
	}
	var list []*artifact.Entry
	for _, e := range a.Entries {
		if roots[e.Name] || belowOneOf(roots, e.Name) {
			list = append(list, e)
		}
	}
	return list, nil
}

func belowOneOf(roots map[string]bool, name string) bool {
	for root := range roots {
		if strings.HasPrefix(name, root) && strings.HasPrefix(name[len(root):], "/") {
			return true
		}
	}
	return false
}

// printListing prints the facts about an artifact and a line for each entry.
func printListing(ctx context.Context, w io.Writer, name string, a *artifact.Artifact, list []*artifact.Entry) error {
	what := map[string]string{"ext4": "ext4 image", "squashfs": "squashfs image", "xfs": "xfs image", "btrfs": "btrfs image", "cpio": "newc archive"}[a.Format()]
	fmt.Fprintf(w, "%s: %s, %s\n", shown(name), what, bytesAndSize(a.Size))
	for _, f := range facts(a) {
		fmt.Fprintf(w, "  %-14s%s\n", f[0], f[1])
	}
	fmt.Fprintln(w)
	width := struct{ links, owner, size int }{1, 1, 1}
	for _, e := range list {
		width.links = max(width.links, len(fmt.Sprint(e.Links)))
		width.owner = max(width.owner, len(owner(e)))
		width.size = max(width.size, len(sizeColumn(e)))
	}
	for _, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s %*d %-*s %*s %s %s%s\n", lsMode(e), width.links, e.Links, width.owner, owner(e),
			width.size, sizeColumn(e), e.Mtime.Format(time.DateTime), shown(e.Name), remark(e))
		if err != nil {
			return err
		}
	}
	return nil
}

func owner(e *artifact.Entry) string { return fmt.Sprintf("%d:%d", e.UID, e.GID) }

func sizeColumn(e *artifact.Entry) string {
	if e.Type == artifact.Char || e.Type == artifact.Block {
		return fmt.Sprintf("%d,%d", e.Rdev.Major, e.Rdev.Minor)
	}
	return fmt.Sprint(e.Size)
}

// remark is what follows a name in the list.
func remark(e *artifact.Entry) string {
	s := ""
	if e.Type == artifact.Symlink {
		s = " -> " + shown(e.Target)
	}
	if e.LinkOf != "" && e.LinkOf != e.Name {
		s += " = " + shown(e.LinkOf)
	}
	if len(e.Xattrs) > 0 {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
			names = append(names, shown(name))
		}
		s += " {" + strings.Join(names, " ") + "}"
	}
	return s
}

func bytesAndSize(n int64) string {
	if n < 1<<10 {
		return size(n)
	}
	return fmt.Sprintf("%d bytes (%s)", n, size(n))
}

// facts are the lines above a list: names and values.
func facts(a *artifact.Artifact) [][2]string {
	var list [][2]string
	add := func(name, format string, args ...any) {
		list = append(list, [2]string{name, oneLine(fmt.Sprintf(format, args...))})
	}
	switch {
	case a.Squashfs != nil:
		x := squashfsJSONOf(a)
		add("compression", "%s, blocks of %s", x.packing(), size(int64(x.BlockSize)))
		add("flags", "%s", strings.Join(x.Flags, " "))
		add("used", "%s", bytesAndSize(x.BytesUsed))
		add("inodes", "%d", x.Inodes)
		add("fragments", "%d", x.Fragments)
		add("owners", "%d", x.Owners)
		add("created", "%s", x.Created)
	case a.XFS != nil:
		x := xfsJSONOf(a)
		add("uuid", "%s", x.UUID)
		add("label", "%q", x.Label)
		add("features", "%s", strings.Join(x.Features, " "))
		add("blocks", "%d of %d bytes, %d free (%s)", x.Blocks, x.BlockSize, x.FreeBlocks, size(int64(x.FreeBytes)))
		add("inodes", "%d of %d bytes, %d of them free", x.Inodes, x.InodeSize, x.FreeInodes)
		add("groups", "%d", x.Groups)
		add("log", "%s", bytesAndSize(x.LogBytes))
	case a.Btrfs != nil:
		x := btrfsJSONOf(a)
		add("uuid", "%s", x.UUID)
		add("label", "%q", x.Label)
		add("features", "%s", strings.Join(x.Features, " "))
		add("size", "%s, %s used", bytesAndSize(int64(x.TotalBytes)), size(int64(x.BytesUsed)))
		add("sectors", "%d bytes", x.SectorSize)
		add("nodes", "%d bytes", x.NodeSize)
		add("profiles", "data %s, metadata %s", x.DataProfile, x.MetadataProfile)
		add("generation", "%d", x.Generation)
	case a.Image != nil:
		x := imageJSONOf(a)
		add("uuid", "%s", x.UUID)
		add("label", "%q", x.Label)
		add("features", "%s", strings.Join(x.Features, " "))
		add("blocks", "%d of %d bytes, %d free (%s), %d reserved", x.Blocks, x.BlockSize, x.FreeBlocks, size(int64(x.FreeBytes)), x.ReservedBlocks)
		add("inodes", "%d of %d bytes, %d free", x.Inodes, x.InodeSize, x.FreeInodes)
		add("groups", "%d", x.Groups)
		if x.JournalBytes > 0 {
			add("journal", "%s", bytesAndSize(x.JournalBytes))
		} else {
			add("journal", "none")
		}
		add("hash seed", "%s", x.HashSeed)
		add("created", "%s", x.Created)
		add("written", "%s", x.Written)
		add("state", "%s", x.State)
	default:
		c := a.Archive.Compression
		add("compression", "%s", c.Kind)
		if len(c.Header) > 0 {
			var fields []string
			for _, f := range c.Header {
				fields = append(fields, f.Name+" "+f.Value)
			}
			add(c.Kind+" header", "%s", strings.Join(fields, ", "))
		}
		add("uncompressed", "%s", bytesAndSize(a.Archive.Uncompressed))
		add("records", "%d", len(a.Archive.Records))
		if n := len(a.Archive.Problems); n > 0 {
			add("problems", "%d, see --check", n)
		}
	}
	add("entries", "%s", census(a.Entries))
	return list
}

// census counts entries by type, the most frequent first.
func census(list []*artifact.Entry) string {
	counts := map[artifact.Type]int{}
	for _, e := range list {
		counts[e.Type]++
	}
	types := slices.Collect(maps.Keys(counts))
	slices.SortFunc(types, func(a, b artifact.Type) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(string(a), string(b)))
	})
	parts := []string{}
	for _, t := range types {
		parts = append(parts, fmt.Sprintf("%s %d", t, counts[t]))
	}
	return strings.TrimSuffix(fmt.Sprintf("%d: %s", len(list), strings.Join(parts, ", ")), ": ")
}

// What --json prints. The keys are a promise: they may grow, not change.
type (
	artifactJSON struct {
		Path   string `json:"path"`
		Format string `json:"format,omitempty"` // "ext4", "squashfs", "xfs", "btrfs" or "cpio"
		Size   int64  `json:"size"`             // bytes

		ContentDigest string `json:"content_digest,omitempty"` // with --content-digest
	}

	imageJSON struct {
		UUID           string   `json:"uuid"`
		Label          string   `json:"label"`
		Features       []string `json:"features"`
		BlockSize      uint32   `json:"block_size"`
		Blocks         uint64   `json:"blocks"`
		FreeBlocks     uint64   `json:"free_blocks"`
		FreeBytes      uint64   `json:"free_bytes"`
		ReservedBlocks uint64   `json:"reserved_blocks"`
		InodeSize      uint16   `json:"inode_size"`
		Inodes         uint32   `json:"inodes"`
		FreeInodes     uint32   `json:"free_inodes"`
		Groups         uint64   `json:"groups"`
		JournalBytes   int64    `json:"journal_bytes"`
		HashSeed       string   `json:"hash_seed"`
		Created        string   `json:"created"`
		Written        string   `json:"written"`
		State          string   `json:"state"`
	}

	squashfsJSON struct {
		Compression string   `json:"compression"`
		Level       uint32   `json:"level,omitempty"` // when it is not the compression's default
		BlockSize   uint32   `json:"block_size"`
		Flags       []string `json:"flags"`
		BytesUsed   int64    `json:"bytes_used"`
		Inodes      uint32   `json:"inodes"`
		Fragments   uint32   `json:"fragments"`
		Owners      uint16   `json:"owners"` // users and groups that differ
		Created     string   `json:"created"`
	}

	xfsJSON struct {
		UUID               string   `json:"uuid"`
		Label              string   `json:"label"`
		Features           []string `json:"features"`
		BlockSize          uint32   `json:"block_size"`
		DirectoryBlockSize uint32   `json:"directory_block_size"`
		SectorSize         uint16   `json:"sector_size"`
		Blocks             uint64   `json:"blocks"`
		FreeBlocks         uint64   `json:"free_blocks"`
		FreeBytes          uint64   `json:"free_bytes"`
		InodeSize          uint16   `json:"inode_size"`
		Inodes             uint64   `json:"inodes"` // that there is room for now; more is made when it is needed
		FreeInodes         uint64   `json:"free_inodes"`
		Groups             uint32   `json:"groups"`
		LogBytes           int64    `json:"log_bytes"`
	}

	btrfsJSON struct {
		UUID            string   `json:"uuid"`
		Label           string   `json:"label"`
		Features        []string `json:"features"`
		SectorSize      uint32   `json:"sector_size"`
		NodeSize        uint32   `json:"node_size"`
		TotalBytes      uint64   `json:"total_bytes"`
		BytesUsed       uint64   `json:"bytes_used"`
		DataProfile     string   `json:"data_profile"` // "single" or "DUP"
		MetadataProfile string   `json:"metadata_profile"`
		Generation      uint64   `json:"generation"`
	}

	archiveJSON struct {
		Compression  string      `json:"compression"`
		Header       []fieldJSON `json:"header"`
		Uncompressed int64       `json:"uncompressed_bytes"`
		Records      int         `json:"records"`
		Problems     []string    `json:"problems"`
	}

	fieldJSON struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}

	entryJSON struct {
		Name         string       `json:"name"`
		NameBase64   string       `json:"name_base64,omitempty"`
		Type         string       `json:"type"`
		Mode         string       `json:"mode"` // four octal digits
		UID          uint32       `json:"uid"`
		GID          uint32       `json:"gid"`
		Mtime        string       `json:"mtime"`
		Size         int64        `json:"size"`
		Links        uint32       `json:"links"`
		LinkOf       string       `json:"link_of,omitempty"`
		LinkOfBase64 string       `json:"link_of_base64,omitempty"`
		Inode        uint64       `json:"inode"`
		Target       string       `json:"target,omitempty"`
		TargetBase64 string       `json:"target_base64,omitempty"`
		Rdev         *rdevJSON    `json:"rdev,omitempty"`
		Xattrs       []xattrJSON  `json:"xattrs,omitempty"`
		Extents      []extentJSON `json:"extents,omitempty"`
	}

	rdevJSON struct {
		Major uint32 `json:"major"`
		Minor uint32 `json:"minor"`
	}

	xattrJSON struct {
		Name        string `json:"name"`
		NameBase64  string `json:"name_base64,omitempty"`
		ValueBase64 string `json:"value_base64"`
	}

	// extentJSON is in bytes. What is in no extent is a hole.
	extentJSON struct {
		Offset    int64 `json:"offset"`   // in the file
		Artifact  int64 `json:"artifact"` // in the artifact
		Length    int64 `json:"length"`
		Unwritten bool  `json:"unwritten,omitempty"`
	}
)

// text gives a string for JSON and, if it is no UTF-8, its bytes in base64.
func text(s string) (shown, encoded string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return strings.ToValidUTF8(s, "\ufffd"), base64.StdEncoding.EncodeToString([]byte(s))
}

func imageJSONOf(a *artifact.Artifact) imageJSON {
	sb := a.Image.Super()
	journal := int64(0)
	if in, err := a.Image.Journal(); err == nil && in != nil {
		journal = int64(in.Size)
	}
	state := "clean"
	if sb.State != 1 {
		state = fmt.Sprintf("%#x (1 is clean)", sb.State)
	}
	label, _ := text(sb.Label)
	return imageJSON{
		UUID:  fmt.Sprintf("%x-%x-%x-%x-%x", sb.UUID[:4], sb.UUID[4:6], sb.UUID[6:8], sb.UUID[8:10], sb.UUID[10:]),
		Label: label, Features: sb.Features(), BlockSize: sb.BlockSize, Blocks: sb.Blocks, FreeBlocks: sb.FreeBlocks,
		FreeBytes: sb.FreeBlocks * uint64(sb.BlockSize), ReservedBlocks: sb.ReservedBlocks, InodeSize: sb.InodeSize,
		Inodes: sb.Inodes, FreeInodes: sb.FreeInodes, Groups: sb.Groups(), JournalBytes: journal,
		HashSeed: fmt.Sprintf("%08x-%08x-%08x-%08x", sb.HashSeed[0], sb.HashSeed[1], sb.HashSeed[2], sb.HashSeed[3]),
		Created:  when(sb.Created), Written: when(sb.Written), State: state,
	}
}

func squashfsJSONOf(a *artifact.Artifact) squashfsJSON {
	sb := a.Squashfs.Super()
	return squashfsJSON{
		Compression: sb.Compression(), Level: a.Squashfs.Level(), BlockSize: sb.BlockSize, Flags: append([]string{}, sb.FlagNames()...),
		BytesUsed: sb.BytesUsed, Inodes: sb.Inodes, Fragments: sb.Fragments, Owners: sb.IDs, Created: when(sb.Made),
	}
}

func xfsJSONOf(a *artifact.Artifact) xfsJSON {
	sb := a.XFS.Super()
	label, _ := text(sb.Label)
	return xfsJSON{
		UUID:  fmt.Sprintf("%x-%x-%x-%x-%x", sb.UUID[:4], sb.UUID[4:6], sb.UUID[6:8], sb.UUID[8:10], sb.UUID[10:]),
		Label: label, Features: append([]string{}, sb.Features()...), BlockSize: sb.BlockSize, DirectoryBlockSize: sb.DirBlockSize, SectorSize: sb.SectorSize,
		Blocks: sb.Blocks, FreeBlocks: sb.FreeBlocks, FreeBytes: sb.FreeBlocks * uint64(sb.BlockSize), InodeSize: sb.InodeSize, Inodes: sb.Inodes,
		FreeInodes: sb.FreeInodes, Groups: sb.Groups, LogBytes: int64(sb.LogBlocks) * int64(sb.BlockSize),
	}
}

func btrfsJSONOf(a *artifact.Artifact) btrfsJSON {
	sb := a.Btrfs.Super()
	label, _ := text(sb.Label)
	return btrfsJSON{
		UUID:  fmt.Sprintf("%x-%x-%x-%x-%x", sb.FSID[:4], sb.FSID[4:6], sb.FSID[6:8], sb.FSID[8:10], sb.FSID[10:]),
		Label: label, Features: sb.Features(), SectorSize: sb.SectorSize, NodeSize: sb.NodeSize, TotalBytes: sb.TotalBytes, BytesUsed: sb.BytesUsed,
		DataProfile: a.Btrfs.DataProfile(), MetadataProfile: a.Btrfs.MetadataProfile(), Generation: sb.Generation,
	}
}

func (x squashfsJSON) packing() string {
	if x.Level == 0 {
		return x.Compression
	}
	return fmt.Sprintf("%s level %d", x.Compression, x.Level)
}

// when shows a time that may be unset.
func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Format(time.RFC3339)
}

func archiveJSONOf(a *artifact.Archive) archiveJSON {
	fields := []fieldJSON{}
	for _, f := range a.Compression.Header {
		fields = append(fields, fieldJSON{f.Name, f.Value})
	}
	return archiveJSON{a.Compression.Kind, fields, a.Uncompressed, len(a.Records), append([]string{}, a.Problems...)}
}

func entryJSONOf(a *artifact.Artifact, e *artifact.Entry) (entryJSON, error) {
	x := entryJSON{
		Type: string(e.Type), Mode: fmt.Sprintf("%04o", e.Mode), UID: e.UID, GID: e.GID,
		Mtime: e.Mtime.Format(time.RFC3339Nano), Size: e.Size, Links: e.Links, Inode: e.Inode,
	}
	x.Name, x.NameBase64 = text(e.Name)
	x.LinkOf, x.LinkOfBase64 = text(e.LinkOf)
	x.Target, x.TargetBase64 = text(e.Target)
	if e.Type == artifact.Char || e.Type == artifact.Block {
		x.Rdev = &rdevJSON{e.Rdev.Major, e.Rdev.Minor}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		v := xattrJSON{ValueBase64: base64.StdEncoding.EncodeToString([]byte(e.Xattrs[name]))}
		v.Name, v.NameBase64 = text(name)
		x.Xattrs = append(x.Xattrs, v)
	}
	if e.Type != artifact.File {
		return x, nil
	}
	var err error
	switch {
	case a.Image != nil:
		x.Extents, err = imageExtents(a, e)
	case a.XFS != nil:
		x.Extents, err = xfsExtents(a, e)
	}
	return x, err
}

func xfsExtents(a *artifact.Artifact, e *artifact.Entry) ([]extentJSON, error) {
	in, err := a.XFS.Inode(e.Inode)
	if err != nil {
		return nil, err
	}
	f, err := in.File()
	if err != nil {
		return nil, err
	}
	var list []extentJSON
	bs := int64(a.XFS.Super().BlockSize)
	for _, r := range f.Extents() {
		list = append(list, extentJSON{int64(r.Logical) * bs, r.Physical(), int64(r.Count) * bs, r.Unwritten})
	}
	return list, nil
}

func imageExtents(a *artifact.Artifact, e *artifact.Entry) ([]extentJSON, error) {
	in, err := a.Image.Inode(uint32(e.Inode))
	if err != nil {
		return nil, err
	}
	extents, err := in.Extents()
	if err != nil {
		return nil, err
	}
	var list []extentJSON
	bs := int64(a.Image.Super().BlockSize)
	for _, r := range extents {
		list = append(list, extentJSON{int64(r.Logical) * bs, int64(r.Physical) * bs, int64(r.Len) * bs, r.Unwritten})
	}
	return list, nil
}

// printInspectJSON prints one object, entry by entry, so that memory does not grow
// with the list.
func printInspectJSON(ctx context.Context, w io.Writer, about artifactJSON, a *artifact.Artifact, list []*artifact.Entry) error {
	head := []struct {
		key   string
		value any
	}{{"artifact", about}}
	value := any(nil)
	switch {
	case a.Image != nil:
		value = imageJSONOf(a)
	case a.Squashfs != nil:
		value = squashfsJSONOf(a)
	case a.XFS != nil:
		value = xfsJSONOf(a)
	case a.Btrfs != nil:
		value = btrfsJSONOf(a)
	default:
		value = archiveJSONOf(a.Archive)
	}
	head = append(head, struct {
		key   string
		value any
	}{a.Format(), value})
	fmt.Fprint(w, "{\n")
	for _, h := range head {
		b, err := marshal(h.value, "  ", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "  %q: %s,\n", h.key, b)
	}
	fmt.Fprint(w, "  \"entries\": [")
	for i, e := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		x, err := entryJSONOf(a, e)
		if err != nil {
			return err
		}
		b, err := marshal(x, "", "")
		if err != nil {
			return err
		}
		comma := ","
		if i == 0 {
			comma = ""
		}
		if _, err := fmt.Fprintf(w, "%s\n    %s", comma, b); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, "\n  ]\n}\n")
	return err
}
