package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/internal/release"
	"github.com/volant/fledge-action/internal/relnotes"
	"github.com/volant/fledge-action/manifest"
)

type releaseFlags struct {
	repo, title, notesFile, clash, latest string
	id                                    int64
	draft, prerelease, dryRun, generate   bool
	verbose, quiet, json                  bool
}

func (p *Program) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:                        "release",
		Short:                      "Put files on a GitHub release",
		SuggestionsMinimumDistance: 2,
		Long:                       `Put files on a GitHub release.`,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return p.noCommand(cmd) },
	}
	cmd.AddCommand(p.releaseUploadCommand(), p.releaseMergeCommand())
	return cmd
}

func (p *Program) releaseUploadCommand() *cobra.Command {
	var f releaseFlags
	cmd := &cobra.Command{
		Use:   "upload TAG FILE...",
		Short: "Upload files to the release of a tag, and publish it",
		Long: `Upload files to the GitHub release of a tag. Without a release a draft is made; it is published when every file is on it and has
the right digest. A file that is there already is skipped, so the same command goes on where an interrupted one ended.

SHA256SUMS and manifests (manifest.json, NAME.manifest.json) are uploaded last, in this order, whatever their place on the
command line. The URL of the release and those of the files are printed on standard output. See docs/release.md.

Environment:
  GITHUB_TOKEN       with "contents: write"
  GITHUB_REPOSITORY  the repository, without --repo
  GITHUB_API_URL     the API (default https://api.github.com)
  GITHUB_SERVER_URL  the web pages (default https://github.com)
  HTTPS_PROXY, NO_PROXY  the proxy, and the hosts that need none`,
		Example: `  fledge release upload v1.2.0 dist/*
  fledge release upload v1.2.0 dist/* --repo acme/web --draft
  fledge release upload v1.2.0 dist/* --dry-run`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("release upload wants a tag and files, got %d arguments (see 'fledge release upload --help')", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.releaseUpload(cmd.Context(), f, args[0], args[1:])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.repo, "repo", "", "`OWNER/NAME` of the repository (default $GITHUB_REPOSITORY)")
	flags.Int64Var(&f.id, "release-id", 0, "`number` of the release to use (default found by its tag)")
	flags.BoolVar(&f.draft, "draft", false, "leave the release a draft")
	flags.BoolVar(&f.prerelease, "prerelease", false, "mark the release as a prerelease")
	flags.StringVar(&f.latest, "latest", "", "`answer` to whether this becomes the latest release: true, false or legacy (default GitHub's choice)")
	flags.StringVar(&f.title, "title", "", "`text` of the title (default the tag, or the draft's own)")
	flags.StringVar(&f.notesFile, "notes-file", "", "`file` with the notes in Markdown (default made from the manifests, unless the draft has notes)")
	flags.BoolVar(&f.generate, "generate-notes", false, "add GitHub's own notes, which list what was merged since the previous release, to a release that gets notes")
	flags.StringVar(&f.clash, "clash", string(release.ClashFail), "`what` happens to a file that is there with other bytes: fail, replace, or auto: replace in a draft only")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only tell what would be done")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every step")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

// interruptedRelease is what an interrupted upload says.
const interruptedRelease = "fledge: interrupted; what was uploaded stays on the release: the same command goes on from there"

func (p *Program) releaseUpload(ctx context.Context, f releaseFlags, tag string, names []string) (err error) {
	if f.verbose && f.quiet {
		return usageError{errors.New("--verbose and --quiet exclude each other")}
	}
	repo := cmp.Or(f.repo, p.Getenv("GITHUB_REPOSITORY"))
	if repo == "" {
		return usageError{errors.New("which repository is not said: name it with --repo OWNER/NAME")}
	}
	report := p.reporter(f.verbose, f.quiet)
	client, err := p.github(repo, "", release.Patience{}, report)
	if err != nil {
		return usageError{err}
	}
	notes, err := readNotes(f.notesFile)
	if err != nil {
		return usageError{err}
	}
	defer func() { report.end(err == nil) }()
	files, err := hashFiles(ctx, names, report)
	if err != nil {
		return err
	}
	server := cmp.Or(p.Getenv("GITHUB_SERVER_URL"), "https://github.com")
	about := relnotes.Release{Repo: repo, Page: release.PageURL(server, repo, tag), URL: func(name string) string { return release.DownloadURL(server, repo, tag, name) }}
	var assets []release.Asset
	for _, file := range files {
		about.Files, assets = append(about.Files, file.File), append(assets, file.asset())
	}
	warnings, err := manifestProblems(about)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		report.event(build.Event{Kind: build.Warning, Message: w})
	}
	if !f.dryRun {
		// An exchange of two names is not broken off.
		p.interruption.Store(&interruption{interruptedRelease, release.ExchangeTime})
	}
	result, err := client.Publish(ctx, tag, assets, release.Options{
		ID: f.id, Draft: f.draft, Prerelease: f.prerelease, MakeLatest: f.latest, Name: f.title, Body: notes, Notes: about.Notes(),
		GenerateNotes: f.generate, Clash: release.Clash(f.clash), DryRun: f.dryRun,
	})
	var wrong *release.Error
	if errors.As(err, &wrong) && (wrong.Reason == release.Invalid || wrong.Reason == release.TooLarge) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	report.end(true)
	warnings = append(warnings, result.Warnings...)
	var previous *release.Previous
	if f.json {
		if previous, err = p.previous(ctx, repo, tag, report); err != nil {
			report.warn(err)
			warnings = append(warnings, err.Error())
		}
	}
	return printed(p.printRelease(f, result, previous, warnings))
}

// github is a client for a repository, with the job's token and API. What the token
// needs is for messages; "" is what uploading needs.
func (p *Program) github(repo, needs string, patience release.Patience, report *reporter) (*release.Client, error) {
	return release.New(release.Config{
		Repo: repo, API: p.Getenv("GITHUB_API_URL"), Token: p.Getenv("GITHUB_TOKEN"), Needs: needs, UserAgent: "fledge/" + p.Version, Patience: patience, Report: report.release,
	})
}

// previous asks for the release before tag's, without much patience: everything is done,
// and only a comparison is missing.
func (p *Program) previous(ctx context.Context, repo, tag string, report *reporter) (*release.Previous, error) {
	client, err := p.github(repo, "contents: read", release.Patience{Attempts: 3, MaxWait: 30 * time.Second}, report)
	if err != nil {
		return nil, err
	}
	return client.Previous(ctx, tag)
}

// release shows an event of an upload.
func (r *reporter) release(e release.Event) {
	kind := map[release.Kind]build.EventKind{release.Stage: build.StageBegins, release.Detail: build.Detail, release.Progress: build.Progress, release.Notice: build.Warning}[e.Kind]
	r.event(build.Event{Kind: kind, Message: e.Message, Done: e.Done, Total: e.Total})
}

// readNotes reads --notes-file.
func readNotes(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	text, err := readWhole(name, 4*release.MaxNotes) // a character has four bytes at most
	if err != nil {
		return "", fmt.Errorf("reading the notes: %w", err)
	}
	if strings.TrimSpace(string(text)) == "" {
		return "", fmt.Errorf("reading the notes: %s: it is empty", shown(name))
	}
	return string(text), nil
}

// readWhole reads a file of limited size.
func readWhole(name string, most int64) ([]byte, error) {
	file, size, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > most {
		return nil, fmt.Errorf("%s has %d bytes: want %d at most", shown(name), size, most)
	}
	return io.ReadAll(io.LimitReader(file, most))
}

// releaseFile is a file on its way to a release.
type releaseFile struct {
	relnotes.File
	path string
}

func (f releaseFile) asset() release.Asset {
	return release.Asset{Name: f.Name, Size: f.Size, Digest: f.Digest, Open: func() (io.ReadCloser, error) { return os.Open(f.path) }}
}

// isManifest tells a manifest by its name.
func isManifest(name string) bool {
	return name == build.ManifestName || strings.HasSuffix(name, build.ManifestSuffix)
}

// hashFiles reads the files once, and puts them in the order in which they go: what
// names others comes behind them.
func hashFiles(ctx context.Context, names []string, report *reporter) ([]releaseFile, error) {
	report.event(build.Event{Kind: build.StageBegins, Message: "hashing"})
	var files []releaseFile
	for _, name := range names {
		f, err := hashFile(ctx, name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	rank := func(f releaseFile) int {
		switch {
		case isManifest(f.Name):
			return 2
		case f.Name == release.SumsName:
			return 1
		}
		return 0
	}
	slices.SortStableFunc(files, func(a, b releaseFile) int { return cmp.Compare(rank(a), rank(b)) })
	return files, nil
}

func hashFile(ctx context.Context, name string) (releaseFile, error) {
	f := releaseFile{path: name, File: relnotes.File{Name: filepath.Base(name)}}
	file, size, err := openFile(name)
	if err != nil {
		return f, usageError{err}
	}
	defer file.Close()
	if err := release.CheckName(f.Name); err != nil {
		return f, usageError{err}
	}
	if size > release.MaxSize {
		f.Size, f.Digest = size, "sha256:"+strings.Repeat("0", 64) // it will be refused
		return f, nil
	}
	h := sha256.New()
	if f.Size, err = io.Copy(h, &cancelled{ctx, file}); err != nil {
		return f, fmt.Errorf("hashing %s: %w", shown(name), err)
	}
	f.Digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
	if !isManifest(f.Name) {
		return f, nil
	}
	text, err := readWhole(name, manifest.MaxSize)
	if err != nil {
		return f, usageError{err}
	}
	if f.Manifest, err = manifest.Decode(strings.NewReader(string(text))); err != nil {
		return f, usageError{fmt.Errorf("%s: %w", shown(name), err)}
	}
	return f, nil
}

// cancelled ends reading with its context.
type cancelled struct {
	ctx context.Context // of one copy
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// manifestProblems are the warnings; what would not install is an error.
func manifestProblems(about relnotes.Release) (warnings []string, err error) {
	var wrong []error
	for _, problem := range about.Problems() {
		text := problem.File + ": " + problem.Message
		if problem.Wrong {
			wrong = append(wrong, errors.New(text))
		} else {
			warnings = append(warnings, text)
		}
	}
	if len(wrong) > 0 {
		return nil, usageError{errors.Join(wrong...)}
	}
	return warnings, nil
}

// releaseOutput is what --json prints. Its keys are a promise: they may grow, not change.
type releaseOutput struct {
	Tag       string              `json:"tag"`
	ID        int64               `json:"id,omitempty"`
	URL       string              `json:"url,omitempty"`
	Draft     bool                `json:"draft"`
	Immutable bool                `json:"immutable"`
	Created   bool                `json:"created"`
	DryRun    bool                `json:"dry_run"`
	Assets    []release.Published `json:"assets"`
	Previous  *release.Previous   `json:"previous"` // null without one
	Warnings  []string            `json:"warnings"`
}

func (p *Program) printRelease(f releaseFlags, r *release.Result, previous *release.Previous, warnings []string) error {
	if f.json {
		text, err := marshal(releaseOutput{r.Tag, r.ID, r.URL, r.Draft, r.Immutable, r.Created, f.dryRun, r.Assets, previous, append([]string{}, warnings...)}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.Stdout, "%s\n", text)
		return err
	}
	var out strings.Builder
	would := map[release.Done]string{release.Uploaded: "upload", release.Skipped: "skip", release.Replaced: "replace"}
	if !f.dryRun {
		fmt.Fprintf(&out, "%s\n", printable(r.URL))
	}
	for _, a := range r.Assets {
		if f.dryRun {
			fmt.Fprintf(&out, "would %s %s\n", would[a.Done], a.Name)
			continue
		}
		fmt.Fprintf(&out, "%s\n", printable(a.URL))
		if !f.quiet {
			fmt.Fprintf(p.Stderr, "%-8s  %s  %s\n", a.Done, a.Name, size(a.Size))
		}
	}
	if r.Draft && !f.dryRun && !f.quiet {
		fmt.Fprintf(p.Stderr, "\nThe release is a draft. Publish it on its page, or with the same command without --draft.\n")
	}
	_, err := io.WriteString(p.Stdout, out.String())
	return err
}
