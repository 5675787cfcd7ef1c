package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/volant/fledge-action/internal/artifact"
)

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
		UUID:  uuidText(sb.UUID),
		Label: label, Features: sb.Features(), BlockSize: sb.BlockSize, Blocks: sb.Blocks, FreeBlocks: sb.FreeBlocks,
		FreeBytes: sb.FreeBlocks * uint64(sb.BlockSize), ReservedBlocks: sb.ReservedBlocks, InodeSize: sb.InodeSize,
		Inodes: sb.Inodes, FreeInodes: sb.FreeInodes, Groups: sb.Groups(), JournalBytes: journal,
		HashSeed: fmt.Sprintf("%08x-%08x-%08x-%08x", sb.HashSeed[0], sb.HashSeed[1], sb.HashSeed[2], sb.HashSeed[3]),
		Created:  when(sb.Created), Written: when(sb.Written), State: state,
	}
}

func uuidText(u [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
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
		UUID:  uuidText(sb.UUID),
		Label: label, Features: append([]string{}, sb.Features()...), BlockSize: sb.BlockSize, DirectoryBlockSize: sb.DirBlockSize, SectorSize: sb.SectorSize,
		Blocks: sb.Blocks, FreeBlocks: sb.FreeBlocks, FreeBytes: sb.FreeBlocks * uint64(sb.BlockSize), InodeSize: sb.InodeSize, Inodes: sb.Inodes,
		FreeInodes: sb.FreeInodes, Groups: sb.Groups, LogBytes: int64(sb.LogBlocks) * int64(sb.BlockSize),
	}
}

func btrfsJSONOf(a *artifact.Artifact) btrfsJSON {
	sb := a.Btrfs.Super()
	label, _ := text(sb.Label)
	return btrfsJSON{
		UUID:  uuidText(sb.FSID),
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
