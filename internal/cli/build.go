package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/cache"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/lock"
	"github.com/volant/fledge-action/build/loop"
	buildsize "github.com/volant/fledge-action/build/size"
	"github.com/volant/fledge-action/internal/proof"
	"github.com/volant/fledge-action/manifest"
)

type buildFlags struct {
	signFlags
	config, manifest, output, url, version, cacheDir, sbom string
	verbose, quiet, json, unbootable                       bool
	locked, twice, record                                  bool
	builder                                                string

	// What the first of two builds says to the second.
	umask    string
	leaveOut []string
}

func (p *Program) buildCommand() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the plugin that fledge.toml describes",
		Long: `Build the plugin that fledge.toml describes: the artifact and manifest.json beside it.

Both appear whole or not at all, and replace those of an earlier build. Their paths are printed on standard output.
What fledge.lock pins is taken as it is pinned, see 'fledge lock'.

With --sbom there appear after them the list of software, the record of the build (NAME.build.json) and SHA256SUMS. A build that signs
makes these too, and then NAME.sigstore.json and NAME.intoto.jsonl. Whether it signs is decided before anything is built. If signing
fails in the end, everything else stays, and 'fledge attest' signs it later. --github-attestations has GitHub keep what is signed, where
'gh attestation verify' and 'fledge verify' find it.

Environment:
  SOURCE_DATE_EPOCH  seconds since 1970: the time of what has none (default: the image's creation)
  GITHUB_TOKEN       for the GitHub API, where the agent's release is looked up
  DOCKER_CONFIG      folder of the config.json with registry credentials (default ~/.docker)
  DOCKER_HOST        the Docker daemon's socket, for docker-daemon: images, and for xfs and btrfs in a container without privileges
  XDG_CACHE_HOME     where the cache is kept, in fledge/ (default ~/.cache)
  TMPDIR             where archives are unpacked, and downloads kept without a cache (default /tmp)
  HTTPS_PROXY, NO_PROXY  the proxy for what is fetched, and the hosts that need none
  CI, GITHUB_REF_TYPE  with CI=true and "tag" this is a release: it warns of inputs that nothing pins
` + signEnvironment,
		Example: `  fledge build
  fledge build -o dist/web.img --config web/fledge.toml
  fledge build --attest required             # in a job with "id-token: write"
  fledge build --locked --check-reproducible
  SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) fledge build --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.build(cmd, f) },
	}
	flags := cmd.Flags()
	p.configFlags(cmd, &f)
	flags.StringVarP(&f.output, "output", "o", "", "artifact's `file`, or its folder if it ends in / (default NAME.img, or NAME.cpio.gz of an initramfs, in the current folder)")
	flags.StringVar(&f.url, "artifact-url", "", "what manifest.json says about where the artifact is: an https `URL` or an absolute path; if it ends in / the file's name is added (default [plugin] url, else the artifact's path)")
	flags.StringVar(&f.version, "plugin-version", "", "the plugin's `version` in manifest.json (default [plugin] version, else the image's tag)")
	p.cacheFlag(cmd, &f)
	flags.StringVar(&f.sbom, "sbom", autoSBOM, "list the software in the artifact beside it, in NAME.spdx.json or NAME.cdx.json: `FORMAT` "+sbomValues()+", or auto: spdx if the build is signed")
	flags.BoolVar(&f.record, "record", false, "write the build record and SHA256SUMS, also of a build that is not signed and has no SBOM")
	addSignFlags(cmd, &f.signFlags)
	flags.BoolVar(&f.locked, "locked", false, "fail when an input is pinned neither by fledge.lock nor by fledge.toml itself")
	flags.BoolVar(&f.unbootable, "allow-unbootable", false, "only warn of what keeps the artifact from booting or its workload from starting")
	flags.StringVar(&f.builder, "filesystem-builder", "", "who writes the image, in place of [filesystem] builder: `BUILDER` auto, userspace (fledge itself: ext4 and squashfs) or loop (the kernel: xfs and btrfs)")
	flags.BoolVar(&f.twice, "check-reproducible", false, "build twice in different surroundings, and fail, with what differs, unless both are the same bytes (of xfs and btrfs: hold the same)")
	flags.StringVar(&f.umask, "umask", "", "")
	flags.StringArrayVar(&f.leaveOut, "leave-out", nil, "")
	for _, name := range []string{"umask", "leave-out"} {
		if err := flags.MarkHidden(name); err != nil {
			panic(err) // a mistake in the lines above
		}
	}
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "show every step, and where the artifact's bytes are")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "show warnings and errors only")
	flags.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (p *Program) cacheFlag(cmd *cobra.Command, f *buildFlags) {
	cmd.Flags().StringVar(&f.cacheDir, "cache-dir", "", "`folder` that keeps downloads, \"none\" for no cache (default $XDG_CACHE_HOME/fledge)")
}

// configFlags adds what build and validate share.
func (p *Program) configFlags(cmd *cobra.Command, f *buildFlags) {
	p.configFlag(cmd, f)
	cmd.Flags().StringVar(&f.manifest, "manifest", "", "`file` with manifest fields that fledge.toml does not give, JSON if its name ends in .json, else TOML (default manifest.toml beside fledge.toml, if there)")
}

func (p *Program) configFlag(cmd *cobra.Command, f *buildFlags) {
	cmd.Flags().StringVar(&f.config, "config", config.FileName, "configuration `file`")
}

func (p *Program) build(cmd *cobra.Command, f buildFlags) error {
	if f.verbose && f.quiet {
		return usageError{errors.New("--verbose and --quiet exclude each other")}
	}
	cfg, template, err := p.load(f)
	if err != nil {
		return err
	}
	if err := cfg.SetBuilder(f.builder); err != nil {
		return usageError{fmt.Errorf("--filesystem-builder: %w", err)}
	}
	pins, err := lock.Load(lock.PathFor(cfg.File))
	if err != nil {
		return usage(err)
	}
	epoch, err := p.epoch()
	if err != nil {
		return err
	}
	if err := setUmask(f.umask); err != nil {
		return usageError{err}
	}
	report := p.reporter(f.verbose, f.quiet)
	plan, err := p.plan(cmd.Context(), f.signFlags, f.cacheDir, report.warn)
	if err != nil {
		return err
	}
	report.plan(plan, p.Getenv("GITHUB_ACTIONS") == "true")
	keep, err := p.keeper(f.signFlags, plan, false, report)
	if err != nil {
		return err
	}
	r := p.request(cfg, f, report)
	defer r.Cache.Close()
	if r.SBOM, err = sbomFormat(f.sbom, plan.Mode != proof.None); err != nil {
		return err
	}
	r.Template, r.Output, r.URL, r.Epoch, r.Tool = template, f.output, f.url, epoch, p.Version
	r.Version = f.version
	r.Lock, r.Locked, r.Release, r.AllowUnbootable = pins, f.locked, p.isRelease(), f.unbootable
	r.LeaveOut = f.leaveOut
	if r.Mounter, err = p.mounter(cmd.Context(), cfg, f.output, report); err != nil {
		return err
	}
	r.ContentDigest = f.twice || f.recorded(plan, r.SBOM)
	if f.twice {
		second := &second{Program: p, flags: f, config: cfg, format: r.SBOM, report: report}
		r.Confirm = second.confirm
	}
	result, err := build.Build(cmd.Context(), r)
	if err != nil {
		report.end(false)
		return err
	}
	docs, err := p.prove(cmd.Context(), plan, keep, f, buildInputs{cfg, template}, result, report)
	report.end(err == nil)
	if err != nil {
		return err
	}
	if f.verbose {
		sizeTable(p.Stderr, result.Size)
	}
	if f.json {
		return printed(p.printJSON(result, docs, f.twice))
	}
	if !f.quiet {
		p.nextSteps(result)
	}
	paths := append([]string{result.Artifact.Path, result.ManifestPath}, docs.paths()...)
	_, err = fmt.Fprintln(p.Stdout, strings.Join(paths, "\n"))
	return printed(err)
}

// request is what everything that fetches needs. Its cache is the caller's to close.
func (p *Program) request(cfg *config.Config, f buildFlags, report *reporter) build.Request {
	return build.Request{
		Config: cfg, WorkDir: p.WorkDir,
		Cache: cache.New(cache.Options{
			Dir: p.cacheDir(f.cacheDir),
			Warn: func(err error) {
				report.event(build.Event{Kind: build.Warning, Message: "not caching downloads: " + err.Error()})
			},
		}),
		Keychain: authn.DefaultKeychain, Token: p.Getenv("GITHUB_TOKEN"), DockerHost: p.Getenv("DOCKER_HOST"), ToolPath: p.Getenv("PATH"), Report: report.event,
		ProveAgent: proof.AgentProver(func(ctx context.Context) ([]*trust.Root, error) {
			return trust.Known(ctx, p.trustOptions(f.cacheDir, false, report.warn))
		}),
	}
}

// isRelease tells whether what is built is going to be published: continuous
// integration runs for a tag.
func (p *Program) isRelease() bool {
	return p.Getenv("CI") == "true" && p.Getenv("GITHUB_REF_TYPE") == "tag"
}

// load reads fledge.toml and what stands beside it.
func (p *Program) load(f buildFlags) (*config.Config, *config.Template, error) {
	cfg, err := p.loadConfig(f.config)
	if err != nil {
		return nil, nil, err
	}
	var template *config.Template
	if f.manifest != "" {
		template, err = config.LoadTemplate(f.manifest)
	} else {
		template, err = config.FindTemplate(cfg.Dir)
	}
	if err != nil {
		return nil, nil, usage(err)
	}
	return cfg, template, nil
}

// loadConfig reads fledge.toml.
func (p *Program) loadConfig(path string) (*config.Config, error) {
	if path == "" {
		return nil, usageError{errors.New("--config names no file")}
	}
	cfg, err := config.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("%s: no such file; name the configuration with --config, or see docs/fledge-toml.md for how to write one", path)}
	}
	if err != nil {
		return nil, usage(err)
	}
	return cfg, nil
}

// usage marks an error as the user's, unless it tells its place by itself.
func usage(err error) error {
	if errors.As(err, new(config.Errors)) || errors.As(err, new(*config.Error)) {
		return err
	}
	return usageError{err}
}

// epoch reads SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/).
func (p *Program) epoch() (time.Time, error) {
	text := p.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > 1<<33 {
		return time.Time{}, usageError{fmt.Errorf("SOURCE_DATE_EPOCH is %q: want a number of seconds since 1970, from 0 to 8589934592", text)}
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// cacheDir finds the folder of the cache; "" is none.
func (p *Program) cacheDir(flag string) string {
	if flag == "none" {
		return ""
	}
	if flag != "" {
		return flag
	}
	// The XDG specification has relative paths ignored.
	if dir := p.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "fledge")
	}
	if home := p.Getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".cache", "fledge")
	}
	return ""
}

// nextSteps says what to do with the result.
func (p *Program) nextSteps(r *build.Result) {
	m := r.Manifest
	fmt.Fprintf(p.Stderr, "\n%s  %s\n\n", printable(filepath.Base(r.Artifact.Path)), size(r.Artifact.Size))
	fmt.Fprintf(p.Stderr, "  volar plugins install --manifest %s\n", shellWord(r.ManifestPath))
	fmt.Fprintf(p.Stderr, "  volar vms create NAME --plugin %s --cpu %d --memory %d\n\n", shellWord(m.Name), m.Resources.CPUCores, m.Resources.MemoryMB)
}

// shellWord quotes a word for a POSIX shell when it needs to be.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@%+=,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(printable(s), "'", `'\''`) + "'"
}

// output is what --json prints. Its keys are a promise: they may grow, not change.
type output struct {
	Artifact   build.Artifact    `json:"artifact"`
	Manifest   manifestOutput    `json:"manifest"`
	Epoch      int64             `json:"epoch"` // seconds since 1970
	Materials  []build.Material  `json:"materials"`
	Filesystem *filesystemOutput `json:"filesystem,omitempty"` // of an ext4 image
	Squashfs   *squashfsOutput   `json:"squashfs,omitempty"`   // of a squashfs image
	Kernel     *kernelFSOutput   `json:"kernel,omitempty"`     // of an xfs or btrfs image
	Archive    *archiveOutput    `json:"archive,omitempty"`    // of an initramfs
	SBOM       *sbomOutput       `json:"sbom,omitempty"`       // with --sbom
	Record     string            `json:"record,omitempty"`     // path of NAME.build.json
	Sums       string            `json:"sums,omitempty"`       // path of SHA256SUMS
	Signed     *attestation      `json:"attestation,omitempty"`
	Size       *buildsize.Report `json:"size"`
	Unpinned   []string          `json:"unpinned"`
	Warnings   []string          `json:"warnings"`

	ContentDigest string `json:"content_digest,omitempty"` // of xfs and btrfs, and if there is a record or a second build

	Reproducible        bool `json:"reproducible,omitempty"`         // a second build has made the same bytes
	ContentReproducible bool `json:"content_reproducible,omitempty"` // it has made other bytes, as it must, that hold the same
}

type manifestOutput struct {
	Path    string             `json:"path"`
	Content *manifest.Manifest `json:"content"`
}

type filesystemOutput struct {
	Free       int64 `json:"free"` // bytes
	Journal    int64 `json:"journal"`
	Inodes     int64 `json:"inodes"`
	FreeInodes int64 `json:"free_inodes"`
}

type squashfsOutput struct {
	Content    int64 `json:"content"` // bytes of all files
	Data       int64 `json:"data"`    // bytes that are stored of them
	Inodes     int64 `json:"inodes"`
	Duplicates int64 `json:"duplicates"` // files that share another's data
}

type kernelFSOutput struct {
	Free   int64       `json:"free"` // bytes
	Inodes int64       `json:"inodes"`
	Tools  []loop.Tool `json:"tools"` // programs that made and checked it
}

type archiveOutput struct {
	Unpacked int64 `json:"unpacked"` // bytes
	Entries  int   `json:"entries"`
}

func (p *Program) printJSON(r *build.Result, docs *documents, twice bool) error {
	out := output{
		Artifact:  r.Artifact,
		Manifest:  manifestOutput{r.ManifestPath, r.Manifest},
		Epoch:     r.Epoch.Unix(),
		Materials: r.Materials,
		SBOM:      docs.sbom,
		Record:    docs.set.Record,
		Sums:      docs.sums(),
		Signed:    docs.attestation(),
		Size:      r.Size,
		Unpinned:  append([]string{}, r.Unpinned...),
		Warnings:  append([]string{}, r.Warnings...),

		ContentDigest: r.ContentDigest, Reproducible: twice && r.Reproducible, ContentReproducible: twice && !r.Reproducible,
	}
	if st := r.Filesystem; st != nil {
		out.Filesystem = &filesystemOutput{Free: st.Free, Journal: st.Journal, Inodes: st.Inodes, FreeInodes: st.FreeInodes}
	}
	if st := r.Squashfs; st != nil {
		out.Squashfs = &squashfsOutput{Content: st.Content, Data: st.Data, Inodes: st.Inodes, Duplicates: st.Duplicates}
	}
	if st := r.Kernel; st != nil {
		out.Kernel = &kernelFSOutput{Free: st.Free, Inodes: st.Inodes, Tools: st.Tools}
	}
	if st := r.Archive; st != nil {
		out.Archive = &archiveOutput{Unpacked: st.Unpacked, Entries: st.Entries}
	}
	return p.encode(out)
}
