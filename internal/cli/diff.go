package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/internal/artifact"
	"github.com/volant/fledge-action/internal/compare"
)

// ExitDiffer is what 'fledge diff' exits with when two artifacts differ.
const ExitDiffer = 1

// errDiffer says that two artifacts differ, which is a result and no failure.
var errDiffer = errors.New("the artifacts differ")

// shownDifferences is how many paths, and how many structures, are printed
// without --all.
const shownDifferences = 100

type diffFlags struct{ json, all bool }

func (p *Program) diffCommand() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show how two artifacts differ, and why",
		Long: `Show how two artifacts differ: which paths and how, then which fields of the format, then the first byte.

Artifacts are ext4, squashfs, xfs or btrfs images or newc archives, plain or compressed with gzip or zstd; it needs no root and no mount. Two of different
formats are compared by what is in them alone. Uncompressed archives are kept in a temporary file meanwhile. As with diff(1) the
exit code is 0 for the same bytes, 1 for a difference, 2 for trouble. See docs/inspect.md.`,
		Example: `  fledge diff dist/web.img rebuilt/web.img
  fledge diff --json old.cpio.gz new.cpio.gz`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("two artifacts are compared, %d given (see 'fledge diff --help')", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			err := printDifferences(cmd.Context(), p.Stdout, args[0], args[1], f)
			if err != nil && !errors.Is(err, errDiffer) {
				return usageError{fmt.Errorf("comparing artifacts: %w", err)}
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print everything as JSON")
	cmd.Flags().BoolVar(&f.all, "all", false, fmt.Sprintf("show every difference, not only the first %d of each kind", shownDifferences))
	return cmd
}

// side is one of the two artifacts.
type side struct {
	name string
	file *os.File
	size int64
	sp   spool
	a    *artifact.Artifact
}

func (s *side) open(name string) (err error) {
	s.name = name
	s.file, s.size, err = openFile(name)
	return err
}

func (s *side) close() {
	if s.file != nil {
		s.file.Close()
	}
	s.sp.Close()
}

// read opens the artifact. Checksums are not asked for: the difference may be the
// damage.
func (s *side) read(ctx context.Context) (err error) {
	s.a, err = artifact.Open(ctx, s.file, s.size, artifact.Options{Spool: &s.sp})
	if err != nil {
		return fmt.Errorf("%s: %w", shown(s.name), err)
	}
	return nil
}

// printDifferences compares two artifacts. It fails with errDiffer if there is a
// difference.
func printDifferences(ctx context.Context, out io.Writer, nameA, nameB string, f diffFlags) error {
	var a, b side
	defer a.close()
	defer b.close()
	if err := a.open(nameA); err != nil {
		return err
	}
	if err := b.open(nameB); err != nil {
		return err
	}
	off, err := compare.SameBytes(ctx, a.file, a.size, b.file, b.size)
	if err != nil {
		return err
	}
	result := &compare.Result{}
	if off >= 0 {
		if err := a.read(ctx); err != nil {
			return err
		}
		if err := b.read(ctx); err != nil {
			return err
		}
		if result, err = compare.Artifacts(ctx, a.a, b.a, compare.Options{}); err != nil {
			return err
		}
	}
	w := bufio.NewWriter(out)
	if f.json {
		err = printDiffJSON(w, &a, &b, result)
	} else {
		printDiff(w, &a, &b, result, f.all)
	}
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if result.Same() {
		return nil
	}
	return errDiffer
}

// printDiff prints differences for people; nothing if there are none.
func printDiff(w io.Writer, a, b *side, r *compare.Result, all bool) {
	if r.Same() {
		return
	}
	fmt.Fprintf(w, "A  %s: %s, %s\nB  %s: %s, %s\n\n", shown(a.name), a.a.Format(), bytesAndSize(a.size), shown(b.name), b.a.Format(), bytesAndSize(b.size))
	for i, x := range r.Paths {
		if i == shownDifferences && !all {
			fmt.Fprintf(w, "... and %d more paths; --all shows them\n", len(r.Paths)-i)
			break
		}
		printPath(w, x)
	}
	printCounts(w, "paths", len(r.Paths), func(count func(string)) {
		for _, x := range r.Paths {
			if x.Only != "" {
				count("only in " + strings.ToUpper(x.Only))
			}
			for _, c := range x.Changes {
				count(c.Field)
			}
		}
	})
	if a.a.Format() != b.a.Format() {
		fmt.Fprint(w, "fields of the format: not compared, the formats differ\n\n")
	} else {
		printStructures(w, r.Structures, all)
	}
	printFirst(w, "first differing byte", r.First)
	if r.First.Uncompressed != nil {
		printFirst(w, "first differing byte, uncompressed", r.First.Uncompressed)
	}
}

func printStructures(w io.Writer, list []compare.Structure, all bool) {
	for i, x := range list {
		if i == shownDifferences && !all {
			fmt.Fprintf(w, "... and %d more fields; --all shows them\n", len(list)-i)
			break
		}
		fmt.Fprintf(w, "%s: %s\n", oneLine(x.Where), changeText(x.Change))
	}
	printCounts(w, "fields of the format", len(list), func(count func(string)) {
		for _, x := range list {
			count(x.Field)
		}
	})
}

func printPath(w io.Writer, x compare.Path) {
	if x.Only != "" {
		fmt.Fprintf(w, "%s: only in %s, a %s\n", shown(x.Name), strings.ToUpper(x.Only), x.Type)
	}
	for _, c := range x.Changes {
		fmt.Fprintf(w, "%s: %s\n", shown(x.Name), changeText(c))
	}
}

func changeText(c compare.Change) string {
	at := ""
	if c.Offset != nil {
		at = fmt.Sprintf(" from byte %d on", *c.Offset)
	}
	return oneLine(fmt.Sprintf("%s%s: %s, then %s", c.Field, at, c.A, c.B))
}

// printCounts sums up which fields differ how often, the most frequent first.
func printCounts(w io.Writer, what string, n int, each func(count func(string))) {
	if n == 0 {
		fmt.Fprintf(w, "%s: no difference\n\n", what)
		return
	}
	counts := map[string]int{}
	each(func(field string) { counts[field]++ })
	fields := slices.Collect(maps.Keys(counts))
	slices.SortFunc(fields, func(x, y string) int { return cmp.Or(counts[y]-counts[x], strings.Compare(x, y)) })
	const shownCounts = 12
	var parts []string
	for i, f := range fields {
		if i == shownCounts {
			parts = append(parts, fmt.Sprintf("%d other", len(fields)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %d", f, counts[f]))
	}
	fmt.Fprintf(w, "%s: %d differ (%s)\n\n", what, n, oneLine(strings.Join(parts, ", ")))
}

func printFirst(w io.Writer, what string, f *compare.First) {
	where := f.A
	if f.A != f.B {
		where = f.A + "; in B " + f.B
	}
	fmt.Fprintf(w, "%s: %d (%#x), %s\n", what, f.Offset, f.Offset, oneLine(where))
}

// What --json prints. The keys are a promise: they may grow, not change.
type (
	diffJSON struct {
		Same       bool            `json:"same"`
		A          artifactJSON    `json:"a"`
		B          artifactJSON    `json:"b"`
		Paths      []pathJSON      `json:"paths"`
		Structures []structureJSON `json:"structures"`
		First      *firstJSON      `json:"first_difference"`
	}

	pathJSON struct {
		Name       string       `json:"name"`
		NameBase64 string       `json:"name_base64,omitempty"`
		Only       string       `json:"only,omitempty"` // "a" or "b"
		Type       string       `json:"type,omitempty"` // with only
		Changes    []changeJSON `json:"changes,omitempty"`
	}

	changeJSON struct {
		Field  string `json:"field"`
		A      string `json:"a"`
		B      string `json:"b"`
		Offset *int64 `json:"offset,omitempty"` // first byte that differs
	}

	structureJSON struct {
		Where string `json:"where"`
		changeJSON
	}

	firstJSON struct {
		Offset       int64      `json:"offset"`
		A            string     `json:"a"`
		B            string     `json:"b"`
		Uncompressed *firstJSON `json:"uncompressed,omitempty"`
	}
)

func (s *side) json() artifactJSON {
	x := artifactJSON{Path: s.name, Size: s.size}
	if s.a != nil {
		x.Format = s.a.Format()
	}
	return x
}

func printDiffJSON(w io.Writer, a, b *side, r *compare.Result) error {
	x := diffJSON{
		Same: r.Same(), A: a.json(), B: b.json(),
		Paths: []pathJSON{}, Structures: []structureJSON{}, First: firstJSONOf(r.First),
	}
	for _, q := range r.Paths {
		y := pathJSON{Only: q.Only, Type: string(q.Type)}
		y.Name, y.NameBase64 = text(q.Name)
		for _, c := range q.Changes {
			y.Changes = append(y.Changes, changeJSON(c))
		}
		x.Paths = append(x.Paths, y)
	}
	for _, s := range r.Structures {
		x.Structures = append(x.Structures, structureJSON{s.Where, changeJSON(s.Change)})
	}
	out, err := marshal(x, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", out)
	return err
}

func firstJSONOf(f *compare.First) *firstJSON {
	if f == nil {
		return nil
	}
	return &firstJSON{f.Offset, f.A, f.B, firstJSONOf(f.Uncompressed)}
}
