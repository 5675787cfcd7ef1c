package action

import (
	"path/filepath"

	"github.com/volant/fledge-action/internal/plan"
)

// command is a command line of fledge and what of it is for people to repeat.
type command struct {
	argv   []string // of this run
	repeat []string // by hand, without what only this run needs
}

// add appends words to both.
func (c *command) add(words ...string) {
	c.argv, c.repeat = append(c.argv, words...), append(c.repeat, words...)
}

// flag adds a flag if its value is not "".
func (c *command) flag(name, value string) {
	if value != "" {
		c.add(name, value)
	}
}

// on adds a flag if it is set.
func (c *command) on(name string, set bool) {
	if set {
		c.add(name)
	}
}

// only adds words for this run alone.
func (c *command) only(words ...string) { c.argv = append(c.argv, words...) }

// debug shows every step in a run with debug logging.
func (c *command) debug(s settings) {
	if s.debug {
		c.only("--verbose")
	}
}

// Building one plugin. folder is where its files go, with a slash at the end.
func buildCommand(s settings, d decision, p plan.Plugin, folder, url, cache string, inPlace bool) command {
	var c command
	c.add("build", "--config", p.Config, "--output", folder)
	c.only("--json", "--cache-dir", cache)
	c.debug(s)
	c.flag("--artifact-url", url)
	c.flag("--plugin-version", d.version)
	c.add("--sbom", s.sbom, "--record")
	c.flag("--filesystem-builder", s.builder)
	c.on("--locked", s.locked)
	c.on("--check-reproducible", s.twice)
	c.on("--allow-unbootable", s.unbootable)
	if !inPlace || !d.sign {
		c.add("--attest", "off")
		return c
	}
	c.signing(s)
	return c
}

// signing adds the flags of signing. Keys and passwords are in the environment.
func (c *command) signing(s settings) {
	c.add("--sign", s.sign, "--attest", s.attest)
	c.flag("--trusted-root", s.trustedRoot)
	c.flag("--signing-config", s.signingConfig)
	c.flag("--oidc-issuer", s.issuer)
	if s.github != "off" {
		c.add("--github-attestations", s.github)
	}
}

func mergeCommand(folders []string, output string) command {
	var c command
	c.add("release", "merge", "--output", output)
	c.only("--json")
	c.add("--")
	c.add(folders...)
	return c
}

func attestCommand(s settings, artifact, cache string) command {
	var c command
	c.add("attest")
	c.only("--json", "--cache-dir", cache)
	c.signing(s)
	c.add("--", artifact)
	return c
}

func uploadCommand(s settings, repo, tag, version string, files []string) command {
	var c command
	c.add("release", "upload", "--repo", repo, "--clash", s.clash)
	c.only("--json")
	c.debug(s)
	c.flag("--release-id", s.releaseID)
	c.on("--draft", !s.publish)
	c.on("--prerelease", prerelease(s.prerelease, version))
	c.flag("--latest", s.latest)
	c.flag("--title", s.title)
	c.flag("--notes-file", s.notes)
	c.on("--generate-notes", s.generate)
	c.on("--dry-run", s.dryRun)
	c.add("--", tag)
	c.add(files...)
	return c
}

func planCommand(s settings, tag, changed string) command {
	var c command
	c.add("plan")
	c.only("--json")
	c.flag("--tag", tag)
	c.flag("--changed", changed)
	c.add("--")
	c.add(s.configs...)
	return c
}

// verifyCommand verifies targets; key is the file with the key, "" for none.
func verifyCommand(t target, key, cache string) command {
	var c command
	c.add("verify")
	c.only("--json", "--cache-dir", cache)
	switch key {
	case "":
		c.flag("--repo", t.repo)
	case t.key:
		c.add("--key", key)
	default: // it was made of the input's text, and is gone afterwards
		c.only("--key", key)
		c.repeat = append(c.repeat, "--key", filepath.Base(key))
	}
	for _, w := range t.workflows {
		c.add("--signer-workflow", w)
	}
	c.flag("--source-ref", t.sourceRef)
	for _, r := range t.roots {
		c.add("--trusted-root", r)
	}
	for _, b := range t.bundles {
		c.add("--bundle", b)
	}
	c.on("--offline", t.offline)
	c.flag("--rebuild", t.rebuild)
	if !t.offline && t.api != "" {
		c.only("--base-url", t.api)
	}
	c.add("--")
	c.add(t.targets...)
	return c
}
