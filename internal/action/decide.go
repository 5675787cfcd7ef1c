package action

import (
	"cmp"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/volant/fledge-action/internal/gha"
	"github.com/volant/fledge-action/internal/plan"
	"github.com/volant/fledge-action/internal/release"
)

// job is what decisions know of the job.
type job struct {
	gha.Context
	fork  bool // a pull request of another repository, or of a bot whose token reads only
	token bool // the job may ask for OIDC tokens
}

// dependabot opens pull requests whose jobs get what those of forks get.
const dependabot = "dependabot[bot]"

func newJob(c gha.Context, e gha.Event, token bool) job {
	return job{Context: c, fork: e.Fork || c.PullRequest() && c.Actor == dependabot, token: token}
}

// decision is what inputs and job come to.
type decision struct {
	tag     string
	upload  bool
	notice  string // why nothing is uploaded although it might be expected; "" for nothing to say
	fix     string
	version string // for every plugin; "" for that of its fledge.toml
	sign    bool   // possible and wanted: signing is not given up beforehand
	plugins []plan.Plugin
}

// decide says what a run is about. Nil plugins are those that build jobs have left.
func decide(s settings, j job, plugins []plan.Plugin) decision {
	d := decision{tag: cmp.Or(s.tag, j.Tag()), plugins: plugins, version: s.version, sign: signs(s, j)}
	pull := j.PullRequest()
	named := true // the tag is one of these plugins
	if d.tag != "" && plugins != nil {
		selected, version := plan.Tagged(plugins, d.tag)
		if named = len(selected) > 0; named {
			d.plugins, d.version = selected, cmp.Or(s.version, version)
		}
	}
	switch {
	case s.upload == "never":
	case s.upload == "always":
		d.upload = true
	case d.tag != "" && !pull && named:
		d.upload = true
	case j.fork:
		d.notice = "this is a pull request of a fork, or of a bot, whose job may neither write nor sign: nothing is uploaded"
	case d.tag != "" && !named:
		d.notice = "the tag \"" + d.tag + "\" names no plugin that is built here: nothing is uploaded"
		d.fix = "tag it v1.2.3 or NAME/v1.2.3 with the plugin's name, or set upload: always"
	}
	return d
}

// signs tells whether signing is tried. What is asked for is tried, so that its
// absence is an error; what is left to us is not tried where it is known to be in
// vain, or where it would vouch for a stranger's code.
func signs(s settings, j job) bool {
	switch {
	case s.dryRun, s.sign == "none", s.attest == "off":
		return false
	case s.sign != "auto", s.attest == "required":
		return true
	case j.fork:
		return false
	}
	return s.key != "" || j.token
}

// unsigned says why nothing is signed, "" when that was asked for.
func unsigned(s settings, j job) string {
	switch {
	case s.dryRun:
		return "a dry run signs nothing"
	case s.sign == "none", s.attest == "off":
		return ""
	case j.fork:
		return "pull requests of forks and bots are not signed"
	}
	return "the job may not ask for tokens: add \"permissions: id-token: write\" to it, or give a key"
}

// prereleaseForm are versions with a pre-release part, https://semver.org.
var prereleaseForm = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+-[0-9A-Za-z]`)

// prerelease tells whether the release is marked as one.
func prerelease(input, version string) bool {
	if input != "auto" {
		return input == "true"
	}
	return prereleaseForm.MatchString(version)
}

// baseURL is where the manifest says that the artifacts of a folder are, with a slash
// at its end; "" leaves it to the build. folder is relative to the workspace.
func baseURL(s settings, j job, d decision, folder string, ownURL bool) string {
	switch {
	case s.baseURL != "":
		return strings.TrimSuffix(s.baseURL, "/") + "/"
	case d.upload:
		return release.DownloadURL(j.ServerURL, j.Repository, d.tag, "")
	case ownURL:
		return ""
	}
	if host := hostWorkspace(j); host != "" {
		return path.Join(host, folder) + "/"
	}
	return ""
}

// hostWorkspace is the workspace on the runner, outside of the container; "" if it has
// the same path there, or is not known.
func hostWorkspace(j job) string {
	_, repo, ok := strings.Cut(j.Repository, "/")
	if !ok || !filepath.IsAbs(j.RunnerWorkspace) || j.Act {
		return ""
	}
	return path.Join(j.RunnerWorkspace, repo)
}

// changedRange is what 'fledge plan --changed' compares; "" when everything is built.
func changedRange(s settings, j job, e gha.Event) string {
	switch {
	case !s.changed, s.tag != "", j.Tag() != "":
		return ""
	case e.Base != "" && e.Head != "":
		return e.Base + "..." + e.Head
	case e.Before != "" && e.After != "":
		return e.Before + "..." + e.After
	}
	return ""
}
