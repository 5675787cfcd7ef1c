package action

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/internal/cli"
	"github.com/volant/fledge-action/internal/gha"
	"github.com/volant/fledge-action/internal/merge"
	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/release"
	"github.com/volant/fledge-action/internal/summary"
	"github.com/volant/fledge-action/manifest"
)

// mergedFolder is where a release of several plugins is put together, in output-dir.
const mergedFolder = "release"

// built is what 'fledge build --json' tells, as far as it is needed.
type built struct {
	Artifact build.Artifact `json:"artifact"`
	Manifest struct {
		Path    string            `json:"path"`
		Content manifest.Manifest `json:"content"`
	} `json:"manifest"`
	Epoch     int64            `json:"epoch"`
	Materials []build.Material `json:"materials"`
	SBOM      *struct {
		Path     string `json:"path"`
		Format   string `json:"format"`
		Packages int    `json:"packages"`
	} `json:"sbom"`
	Record       string    `json:"record"`
	Sums         string    `json:"sums"`
	Attestation  *attested `json:"attestation"`
	Unpinned     []string  `json:"unpinned"`
	Warnings     []string  `json:"warnings"`
	Reproducible bool      `json:"reproducible"`

	ContentReproducible bool `json:"content_reproducible"`
}

// attested is what is told of signatures.
type attested struct {
	Bundle  string   `json:"bundle"`
	Bundles string   `json:"bundles"`
	Pages   []string `json:"github_urls"`
}

// uploaded is what 'fledge release upload --json' tells.
type uploaded struct {
	ID        int64               `json:"id"`
	URL       string              `json:"url"`
	Draft     bool                `json:"draft"`
	Immutable bool                `json:"immutable"`
	Assets    []release.Published `json:"assets"`
	Warnings  []string            `json:"warnings"`
	Previous  *struct {
		Tag    string `json:"tag"`
		URL    string `json:"url"`
		Assets []struct {
			Name   string `json:"name"`
			Size   int64  `json:"size"`
			Digest string `json:"digest"`
		} `json:"assets"`
	} `json:"previous"`
}

// run does what the inputs ask for.
func (p *Program) run(ctx context.Context, s settings) error {
	if err := p.open(s.dir); err != nil {
		return err
	}
	p.page.Repo = p.workflow.Context().Repository
	if s.command == commandInstall {
		return p.install()
	}
	j, event, err := p.job()
	if err != nil {
		return err
	}
	if err := p.world(s); err != nil {
		return err
	}
	switch s.command {
	case commandPlan:
		return p.plan(ctx, s, j, event)
	case commandRelease:
		return p.releaseBuilt(ctx, s, j)
	}
	return p.build(ctx, s, j)
}

// world sets what commands find in their environment. Inputs have been masked; what
// is secret in registry-auth is masked here.
func (p *Program) world(s settings) error {
	for name, value := range map[string]string{
		"GITHUB_TOKEN": s.token, "GITHUB_API_URL": s.api, "SOURCE_DATE_EPOCH": s.epoch, "COSIGN_PASSWORD": s.password, "FLEDGE_SIGNING_KEY": s.key,
	} {
		if value != "" {
			p.overlay[name] = value
		}
	}
	if s.registryAuth == "" {
		return nil
	}
	auth, err := readAuth(s.registryAuth, p.start, p.workflow.Mask)
	if err != nil {
		return inputError{fmt.Errorf("input registry-auth: %w", err)}
	}
	dir, err := writeAuth(auth, p.private(""))
	if err != nil {
		return fmt.Errorf("keeping the registry's credentials: %w", err)
	}
	p.overlay["DOCKER_CONFIG"] = dir
	return p.Setenv("DOCKER_CONFIG", dir) // the registry's library asks the process
}

// cache is where downloads are kept: an absolute path.
func (p *Program) cache(s settings) (string, error) {
	if s.cache == "" {
		return p.private("cache"), nil
	}
	if err := p.owner.Load().folder(s.cache); err != nil {
		return "", inputError{fmt.Errorf("input cache-dir: %w", err)}
	}
	return path.Join(p.workspace, s.cache), nil
}

// find reads the fledge.toml files.
func (p *Program) find(s settings) ([]plan.Plugin, error) {
	root, err := os.OpenRoot(p.start)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	plugins, err := plan.Find(root, s.configs)
	if wrong := (*plan.PatternError)(nil); errors.As(err, &wrong) {
		return nil, inputError{fmt.Errorf("input config: %w", err)}
	}
	if err != nil {
		return nil, &stepError{what: "Read fledge.toml", code: cli.ExitUsage, err: err}
	}
	return plugins, nil
}

// build builds the plugins and releases them if that is decided.
func (p *Program) build(ctx context.Context, s settings, j job) error {
	found, err := p.find(s)
	if err != nil {
		return err
	}
	p.outputs["cache-key"] = plan.CacheKey(found)
	p.outputs["signed"] = "false"
	d := decide(s, j, found)
	if err := p.checkUpload(s, j, d); err != nil {
		return err
	}
	p.say(s, j, d)
	several := len(found) > 1
	merged := several && d.upload
	if merged && slices.ContainsFunc(d.plugins, func(x plan.Plugin) bool { return x.Name == mergedFolder }) {
		return inputError{fmt.Errorf("a plugin is called %q, which is the folder of the merged release: call it something else", mergedFolder)}
	}
	cache, err := p.cache(s)
	if err != nil {
		return err
	}
	r := &results{workspace: p.workspace, start: p.start}
	defer func() { p.publishOutputs(r) }()
	p.outputs["reproducible"] = "unchecked"
	for _, x := range d.plugins {
		folder := s.output
		if several {
			folder = path.Join(s.output, x.Name)
		}
		if err := p.owner.Load().folder(p.inWorkspace(folder)); err != nil {
			return inputError{fmt.Errorf("input output-dir: %w", err)}
		}
		if err := p.buildOne(ctx, s, j, d, x, folder, cache, !merged, r); err != nil {
			return err
		}
	}
	if s.twice {
		p.outputs["reproducible"] = reproducible(p.page.Plugins)
	}
	if s.strict && len(r.warnings) > 0 {
		return fmt.Errorf("fail-on-warning: %s", strings.Join(r.warnings, "; "))
	}
	if !merged {
		if d.upload {
			if err := p.upload(ctx, s, j, d, r); err != nil {
				return err
			}
		}
		return p.artifacts(s, r)
	}
	var folders []string
	for _, x := range d.plugins {
		folders = append(folders, path.Join(s.output, x.Name))
	}
	if err := p.mergeAndUpload(ctx, s, j, d, cache, folders, r); err != nil {
		return err
	}
	return p.artifacts(s, r)
}

// reproducible is the output of plugins that were each built twice, successfully.
func reproducible(plugins []summary.Plugin) string {
	if slices.ContainsFunc(plugins, func(x summary.Plugin) bool { return x.Reproducible == summary.SameContent }) {
		return "content"
	}
	return "true"
}

// buildOne builds one plugin.
func (p *Program) buildOne(ctx context.Context, s settings, j job, d decision, x plan.Plugin, folder, cache string, inPlace bool, r *results) error {
	own := false
	if cfg, err := config.Load(x.Config); err == nil {
		own = cfg.IsSet("plugin.url")
	}
	url := baseURL(s, j, d, p.inWorkspace(folder), own)
	c := buildCommand(s, d, x, folder+"/", url, cache, inPlace)
	var b built
	err := p.step(ctx, "Build "+x.Name, x.Name, c, &b)
	if err != nil {
		if s.twice && strings.Contains(err.Error(), "not reproducible") {
			p.outputs["reproducible"] = "false"
		}
		return err
	}
	for _, text := range b.Warnings {
		p.warn("fledge: "+x.Name, x.Config, text)
		r.warnings = append(r.warnings, text)
	}
	if err := r.add(ctx, x, &b); err != nil {
		return err
	}
	page := pluginPage(p, x, &b, r.plugins[len(r.plugins)-1])
	cmd := p.repeat(c)
	if s.epoch != "" {
		cmd.Env = []string{"SOURCE_DATE_EPOCH=" + s.epoch}
	}
	page.Repeat = []summary.Command{cmd}
	page.Reproducible = checked(s, &b)
	p.page.Plugins = append(p.page.Plugins, page)
	fmt.Fprintf(p.workflow.Log(), "%s  %s\n", b.Artifact.Digest, path.Base(b.Artifact.Path))
	p.signedBy(b.Attestation, s)
	return nil
}

// checked is what the second build has shown: it has made a plugin's bytes again, or, of
// a filesystem that a kernel writes, its content.
func checked(s settings, b *built) summary.Reproducible {
	switch {
	case !s.twice:
		return summary.Unchecked
	case b.ContentReproducible:
		return summary.SameContent
	}
	return summary.SameBytes
}

// checkUpload refuses an upload that cannot be.
func (p *Program) checkUpload(s settings, j job, d decision) error {
	switch {
	case !d.upload:
		return nil
	case d.tag == "":
		return inputError{errors.New("input upload: always needs a tag: run on a tag push, or set \"tag\"")}
	case j.Repository == "":
		return inputError{errors.New("GITHUB_REPOSITORY is not set: the repository of the release is not known")}
	}
	return nil
}

// say tells what will not happen.
func (p *Program) say(s settings, j job, d decision) {
	if d.notice != "" {
		text := d.notice
		if d.fix != "" {
			text += "; " + d.fix
		}
		p.workflow.Notice(gha.Annotation{Title: "fledge", Message: text})
		p.page.Withheld = &summary.Withheld{Why: d.notice, Fix: d.fix, Coming: j.PullRequest()}
	}
	if !d.sign {
		p.page.Unsigned = unsigned(s, j)
	}
}

// mergeAndUpload merges folders, signs what is in them, and puts that on the release.
func (p *Program) mergeAndUpload(ctx context.Context, s settings, j job, d decision, cache string, folders []string, r *results) error {
	output := path.Join(s.output, mergedFolder)
	if err := p.owner.Load().folder(p.inWorkspace(s.output)); err != nil {
		return inputError{fmt.Errorf("input output-dir: %w", err)}
	}
	var m merge.Result
	c := mergeCommand(folders, output)
	if err := p.step(ctx, "Merge", "", c, &m); err != nil {
		return err
	}
	p.page.Repeat = append(p.page.Repeat, p.repeat(c))
	for _, text := range m.Warnings {
		p.warn("fledge", "", text)
		p.warnings = append(p.warnings, text)
	}
	r.merged(&m)
	p.mergedPage(&m)
	if d.version == "" {
		d.version = mergedVersion(&m, d.tag)
	}
	if s.strict && len(m.Warnings) > 0 {
		return fmt.Errorf("fail-on-warning: %s", strings.Join(m.Warnings, "; "))
	}
	if d.sign {
		for _, x := range m.Plugins {
			c := attestCommand(s, artifactOf(x), cache)
			var a attested
			if err := p.step(ctx, "Sign "+x.Name, x.Name, c, &a); err != nil {
				return err
			}
			p.page.Repeat = append(p.page.Repeat, p.repeat(c))
			if err := r.sign(x.Name, &a); err != nil {
				return err
			}
			p.signedBy(&a, s)
		}
	}
	if !d.upload {
		return nil
	}
	return p.upload(ctx, s, j, d, r)
}

// upload puts files on the release.
func (p *Program) upload(ctx context.Context, s settings, j job, d decision, r *results) error {
	version := d.version
	if version == "" && len(r.plugins) > 0 {
		version = r.plugins[0].version
	}
	c := uploadCommand(s, j.Repository, d.tag, version, r.paths())
	var u uploaded
	if err := p.step(ctx, "Upload", "", c, &u); err != nil {
		return err
	}
	for _, text := range u.Warnings {
		p.warn("fledge: release", "", text)
		p.warnings = append(p.warnings, text)
	}
	r.uploaded(&u)
	p.releasePage(s, d, version, &u)
	p.page.Repeat = append(p.page.Repeat, p.repeat(c))
	if s.dryRun {
		return nil
	}
	p.outputs["release-id"] = strconv.FormatInt(u.ID, 10)
	p.outputs["release-url"] = u.URL
	p.outputs["release-draft"] = strconv.FormatBool(u.Draft)
	return nil
}

// artifacts names the artifacts to the runner, for actions/attest.
func (p *Program) artifacts(s settings, r *results) error {
	if s.dryRun {
		return nil
	}
	var paths []string
	for _, f := range r.all() {
		if f.Kind == kindArtifact {
			paths = append(paths, f.Path)
		}
	}
	return p.workflow.Artifacts(paths)
}

// releaseBuilt releases what build jobs have left.
func (p *Program) releaseBuilt(ctx context.Context, s settings, j job) error {
	d := decide(s, j, nil)
	if err := p.checkUpload(s, j, d); err != nil {
		return err
	}
	p.outputs["signed"] = "false"
	p.say(s, j, d)
	cache, err := p.cache(s)
	if err != nil {
		return err
	}
	r := &results{workspace: p.workspace, start: p.start}
	defer func() { p.publishOutputs(r) }()
	if err := p.boots(s); err != nil {
		return err
	}
	if err := p.mergeAndUpload(ctx, s, j, d, cache, []string{s.output}, r); err != nil {
		return err
	}
	return p.artifacts(s, r)
}

// plan makes a job matrix.
func (p *Program) plan(ctx context.Context, s settings, j job, event gha.Event) error {
	found, err := p.find(s)
	if err != nil {
		return err
	}
	p.outputs["cache-key"] = plan.CacheKey(found)
	tag := cmp.Or(s.tag, j.Tag())
	changed := changedRange(s, j, event)
	if s.changed && changed == "" {
		p.workflow.Notice(gha.Annotation{Title: "fledge", Message: "changed-only: everything is built for a tag, and where it is not known what to compare with"})
	}
	var matrix json.RawMessage
	c := planCommand(s, tag, changed)
	if err := p.step(ctx, "Plan", "", c, &matrix); err != nil {
		return err
	}
	var m struct {
		Include []plan.Plugin `json:"include"`
	}
	if err := decode(c, matrix, &m); err != nil {
		return err
	}
	p.outputs["matrix"] = string(matrix)
	p.outputs["any"] = strconv.FormatBool(len(m.Include) > 0)
	for _, x := range m.Include {
		fmt.Fprintf(p.workflow.Log(), "%s  %s  %s\n", x.Name, x.Config, x.Platform)
	}
	p.page.Repeat = []summary.Command{p.repeat(c)}
	return nil
}
