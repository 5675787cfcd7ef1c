package plan

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"regexp"

	"github.com/volant/fledge-action/build"
	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/image"
	"github.com/volant/fledge-action/build/lock"
)

// Plugin is one fledge.toml.
type Plugin struct {
	// Name is what a build calls the plugin, and the stem of its files. It has the form
	// [A-Za-z0-9][A-Za-z0-9._-]*, so it can be the name of a job, an artifact or a folder.
	Name string `json:"name"`
	// Config is the path of the fledge.toml, with slashes, relative to the root.
	Config   string `json:"config"`
	Platform string `json:"platform"` // "linux/amd64"
	Runner   string `json:"runner"`   // label of GitHub's runner of that platform, for 'fledge boot'
	Strategy string `json:"strategy"` // "oci_rootfs" or "initramfs"
	// Artifact is the name that a build gives the file by itself: "web.img".
	Artifact string `json:"-"`
	// Dir is the folder of Config, "." for the root.
	Dir string `json:"-"`

	configDigest, lockDigest string // "sha256:" and hex; "" without a fledge.lock
}

// MaxName is the longest name of a plugin, in bytes: with what is put behind it, it has to
// be the name of a file on a release.
const MaxName = 128

// nameForm is what is a name for jobs, artifacts and folders alike.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// pathForm is what neither a shell, an expression of GitHub Actions, a list of patterns
// nor a command line reads as anything but a path.
var pathForm = regexp.MustCompile(`^` + pathPart + `(/` + pathPart + `)*$`)

const pathPart = `[\p{L}\p{N}._]([\p{L}\p{M}\p{N}._+@=,~-]| [\p{L}\p{M}\p{N}._+@=,~])*`

// runners are GitHub's labels for architectures that an agent runs on.
var runners = map[string]string{"amd64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}

// Find reads the fledge.toml files below root that the patterns name, each once. No pattern
// means [DefaultPattern]. A pattern that finds nothing is an error.
//
// The error is config.Errors, about all files, when those are at fault, and a
// [*PatternError] when a pattern is.
func Find(root *os.Root, patterns []string) ([]Plugin, error) {
	f := &finder{root: root, maxEntries: MaxEntries}
	names, err := f.find(patterns)
	if err != nil {
		return nil, err
	}
	var plugins []Plugin
	var wrong config.Errors
	owner := map[string]string{}
	for _, name := range names {
		p, place, err := f.load(name)
		if err != nil {
			if wrong, err = collect(wrong, err); err != nil {
				return nil, err
			}
			continue
		}
		if other, taken := owner[p.Name]; taken {
			place.Message = fmt.Sprintf("plugin %q is also %s: write another name in [plugin], such as name = %q", p.Name, other, freeName(p, owner))
			wrong = append(wrong, place)
		}
		owner[p.Name] = name
		plugins = append(plugins, *p)
	}
	if wrong != nil {
		return nil, wrong
	}
	return plugins, nil
}

// freeName is a name that is free.
func freeName(p *Plugin, owner map[string]string) string {
	base := path.Base(p.Dir)
	for _, name := range []string{base, p.Name + "-" + path.Base(p.Platform), p.Name + "-" + base} {
		if _, taken := owner[name]; !taken && nameForm.MatchString(name) {
			return name
		}
	}
	return p.Name + "-2"
}

// collect adds what has a place to the list; anything else is returned.
func collect(all config.Errors, err error) (config.Errors, error) {
	var many config.Errors
	var one *config.Error
	switch {
	case errors.As(err, &many):
		return append(all, many...), nil
	case errors.As(err, &one):
		return append(all, one), nil
	}
	return all, err
}

// load reads one plugin. The error without a message is the place of its name, for a
// complaint about that.
func (f *finder) load(file string) (*Plugin, *config.Error, error) {
	if !pathForm.MatchString(file) {
		return nil, nil, &PatternError{file, "a path in a job matrix may have letters, digits, '._-+@=,~' and single spaces, a letter, digit, '.' or '_' first: rename the folder"}
	}
	text, err := f.read(file)
	if err != nil {
		return nil, nil, err
	}
	c, err := config.Parse(file, text)
	if err != nil {
		return nil, nil, err
	}
	dir := path.Dir(file)
	template, err := f.template(path.Join(dir, config.TemplateName))
	if err != nil {
		return nil, nil, err
	}
	p := &Plugin{Config: file, Dir: dir, Strategy: c.Strategy, configDigest: c.Digest}
	if p.lockDigest, err = f.lock(lock.PathFor(file)); err != nil {
		return nil, nil, err
	}
	if p.Name, p.Artifact, err = build.Names(c, template); err != nil {
		return nil, nil, err
	}
	platform, err := image.ParsePlatform(c.Source.Platform)
	if err != nil {
		return nil, nil, c.Errorf("source.platform", "%v", err)
	}
	p.Platform, p.Runner = platform.String(), runners[platform.Architecture]
	switch {
	case p.Runner == "":
		return nil, nil, c.Errorf("source.platform", "no agent runs on architecture %q, only on amd64 and arm64", platform.Architecture)
	case !nameForm.MatchString(p.Name):
		return nil, nil, c.Errorf("plugin.name", "the plugin's name is %q: for a job matrix it has to have letters, digits, '.', '_' and '-' only, a letter or digit first; write another one in [plugin]", p.Name)
	case len(p.Name) > MaxName:
		return nil, nil, c.Errorf("plugin.name", "the plugin's name has %d bytes: %d at most", len(p.Name), MaxName)
	}
	return p, c.Errorf("plugin.name", ""), nil
}

func (f *finder) template(name string) (*config.Template, error) {
	text, err := f.read(name)
	if err != nil || text == nil {
		return nil, err
	}
	return config.ParseTemplate(name, text)
}

// lock checks a fledge.lock and returns its digest; "" if there is none.
func (f *finder) lock(name string) (string, error) {
	text, err := f.read(name)
	if err != nil || text == nil {
		return "", err
	}
	if _, err := lock.Parse(name, text); err != nil {
		return "", err
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(text)), nil
}
