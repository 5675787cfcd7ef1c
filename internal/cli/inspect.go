package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

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
