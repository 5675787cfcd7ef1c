package action

import (
	"path"
	"path/filepath"

	"github.com/volant/fledge-action/internal/gha"
)

// The values of the input command.
const (
	commandBuild   = "build"
	commandPlan    = "plan"
	commandRelease = "release"
	commandInstall = "install"
)

// settings are the inputs of action.yml.
type settings struct {
	command       string
	configs       []string
	dir           string // below the workspace
	output        string // below dir
	version       string
	baseURL       string
	epoch         string
	builder       string
	locked        bool
	twice         bool
	unbootable    bool
	sbom          string
	sign, attest  string
	key, password string // secret
	trustedRoot   string
	signingConfig string
	issuer        string
	github        string // github-attestations
	upload, tag   string
	releaseID     string
	publish       bool
	prerelease    string
	latest        string
	clash         string
	title, notes  string
	generate      bool
	changed       bool
	cache         string // below the workspace
	registryAuth  string // secret
	dryRun        bool
	summary       bool
	strict        bool // fail-on-warning
	token         string
	api           string
	debug         bool // the run has debug logging
}

// readSettings reads the inputs. The secret ones are masked first.
func readSettings(i *gha.Inputs) (settings, error) {
	s := settings{token: i.Secret("github-token"), key: i.Secret("key"), password: i.Secret("key-password"), registryAuth: i.Secret("registry-auth")}
	s.command = i.OneOf("command", commandBuild, commandPlan, commandRelease, commandInstall)
	s.configs = i.Lines("config")
	if s.configs == nil {
		s.configs = []string{"fledge.toml"}
	}
	s.dir = local(i, "working-directory", ".")
	s.output = local(i, "output-dir", "dist")
	if s.output == "." {
		i.Reject("output-dir", "a folder of its own, such as dist")
	}
	s.version = i.String("version")
	s.baseURL = i.String("artifact-base-url")
	s.epoch = i.String("source-date-epoch")
	s.builder = i.OneOf("filesystem-builder", "", "auto", "userspace", "loop")
	s.locked = i.Bool("locked")
	s.twice = i.Bool("check-reproducible")
	s.unbootable = i.Bool("allow-unbootable")
	s.sbom = i.OneOf("sbom", "spdx", "cyclonedx", "none")
	s.sign = i.OneOf("sign", "auto", "keyless", "key", "none")
	s.attest = i.OneOf("attest", "auto", "required", "off")
	s.trustedRoot = i.String("trusted-root")
	s.signingConfig = i.String("signing-config")
	s.issuer = i.String("oidc-issuer")
	s.github = i.OneOf("github-attestations", "auto", "required", "off")
	s.upload = i.OneOf("upload", "auto", "always", "never")
	s.tag = i.String("tag")
	if i.Int("release-id") != 0 {
		s.releaseID = i.String("release-id")
	}
	s.publish = i.BoolOr("publish", true)
	s.prerelease = i.OneOf("prerelease", "auto", "true", "false")
	s.latest = i.OneOf("make-latest", "", "true", "false", "legacy")
	s.clash = i.OneOf("on-conflict", "auto", "fail", "replace")
	s.title = i.String("release-name")
	s.notes = i.String("release-notes")
	s.generate = i.Bool("generate-release-notes")
	s.changed = i.Bool("changed-only")
	if i.String("cache-dir") != "" {
		if s.cache = local(i, "cache-dir", ""); s.cache == "." {
			i.Reject("cache-dir", "a folder of its own, such as .fledge-cache")
		}
	}
	s.dryRun = i.Bool("dry-run")
	s.summary = i.BoolOr("summary", true)
	s.strict = i.Bool("fail-on-warning")
	s.api = i.String("github-api-url")
	return s, i.Err()
}

// local reads a path that has to stay below where it starts.
func local(i *gha.Inputs, name, empty string) string {
	text := i.String(name)
	if text == "" {
		text = empty
	}
	if !filepath.IsLocal(text) {
		i.Reject(name, "a path below the workspace, without ..")
		return empty
	}
	return path.Clean(filepath.ToSlash(text))
}

// target are the inputs of verify/action.yml.
type target struct {
	targets, workflows, bundles, roots []string
	repo, sourceRef, key, rebuild      string
	offline, summary                   bool
	token, api                         string
}

func readTarget(i *gha.Inputs) (target, error) {
	t := target{token: i.Secret("github-token")}
	i.Required("target", "an artifact, a manifest.json, a SHA256SUMS or the page of a release")
	t.targets = i.Lines("target")
	t.repo = i.String("repo")
	t.workflows = i.Lines("signer-workflow")
	t.sourceRef = i.String("source-ref")
	t.key = i.String("key")
	t.roots = i.Lines("trusted-root")
	t.offline = i.Bool("offline")
	t.bundles = i.Lines("bundle")
	t.rebuild = i.String("rebuild")
	t.summary = i.BoolOr("summary", true)
	t.api = i.String("github-api-url")
	return t, i.Err()
}
