package build

import (
	"cmp"
	"crypto/sha256"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/volant/fledge-action/build/config"
	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/manifest"
)

// prepare decides the artifact's path and checks as much of the manifest as can
// be known without the image's files, so that a mistake costs no download.
func (b *builder) prepare() error {
	d, err := b.draft(nil)
	if err != nil {
		return err
	}
	b.path = b.Output
	if isFolder(b.path) {
		b.path = filepath.Join(b.path, d.Manifest.Name+b.extension())
	}
	if !filepath.IsAbs(b.path) {
		b.path = filepath.Join(b.WorkDir, b.path)
	}
	if strings.HasSuffix(b.URL, "/") {
		b.URL += inURL(b.URL, filepath.Base(b.path))
		if d, err = b.draft(nil); err != nil {
			return err
		}
	}
	b.describe(d, "sha256:"+strings.Repeat("0", 2*sha256.Size))
	if len(d.Manifest.Workload.Entrypoint) > 0 {
		// Where the program is in PATH is seen when the tree is there.
		d.Manifest.Workload.Entrypoint[0] = path.Join("/", d.Manifest.Workload.Entrypoint[0])
	}
	_, err = d.Check()
	return err
}

// isFolder tells whether an output names only the folder of the artifact.
func isFolder(output string) bool {
	return output == "" || os.IsPathSeparator(output[len(output)-1])
}

// inURL is a file's name as it stands in a URL, or in a path if base is one.
func inURL(base, name string) string {
	if filepath.IsAbs(base) {
		return name
	}
	return url.PathEscape(name)
}

// draft makes the manifest without its artifact. t is where programs are looked
// up; nil takes them as they are.
func (b *builder) draft(t *tree.Tree) (*config.Draft, error) {
	in := config.Inputs{Config: b.Config, Template: b.Template}
	if b.Config.Strategy == config.Initramfs {
		in.DefaultName = defaultName
	}
	if im := b.image; im != nil {
		in.Image = &config.Image{
			Name: im.Name, Tag: im.Tag, Reference: im.Ref, Digest: im.Digest,
			Entrypoint: im.Config.Entrypoint, Cmd: im.Config.Cmd, Env: im.Config.Env, WorkingDir: im.Config.WorkingDir,
			User: im.Config.User, ExposedPorts: im.Config.ExposedPorts,
		}
	}
	in.Flags = &manifest.Manifest{Version: b.Version}
	if b.URL != "" {
		b.locate(in.Flags, b.URL, "")
	}
	if t != nil {
		in.Executable = func(name string) bool { return executable(t, name) }
	}
	return config.Merge(in)
}

// executable tells whether a name leads to a regular file that may be executed.
func executable(t *tree.Tree, name string) bool {
	at, err := t.Resolve(name, true)
	if err != nil {
		return false
	}
	n, err := t.Lookup(at)
	return err == nil && n.Mode.IsRegular() && n.Mode&0o111 != 0
}

// defaultName is the name of an initramfs plugin that nothing names.
const defaultName = "plugin"

// describe adds the artifact to a manifest.
func (b *builder) describe(d *config.Draft, digest string) {
	b.locate(d.Manifest, cmp.Or(d.URL, b.path), digest)
}

// locate says in a manifest where the artifact is.
func (b *builder) locate(m *manifest.Manifest, where, digest string) {
	if b.Config.Strategy == config.Initramfs {
		m.Initramfs = &manifest.Initramfs{URL: where, Checksum: digest}
		return
	}
	m.Rootfs = &manifest.Rootfs{URL: where, Checksum: digest, Format: "raw"}
}
