package image

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/volant/fledge-action/build/cache"
)

// A Kind is where a reference points: the part before its first colon.
type Kind string

// The kinds of references.
const (
	Registry      Kind = "docker"
	Layout        Kind = "oci"
	OCIArchive    Kind = "oci-archive"
	DockerArchive Kind = "docker-archive"
	DockerDaemon  Kind = "docker-daemon"
)

// A Reference is a parsed image reference. Parsing one touches neither network
// nor disk.
type Reference struct {
	Kind Kind
	// Name is a short name for the image: the last component of a repository
	// ("app" of localhost:5000/team/app), or the base name of a directory or
	// archive without its suffix.
	Name string
	// Tag is the tag asked for; "latest" when a registry or daemon reference has
	// neither tag nor digest, "" when there is none.
	Tag string

	path     string // of a layout or archive, as written
	selector string // TAG in a layout or OCI archive, NAME:TAG in a docker archive
	digest   string // asked for, or ""
	text     string // as written, without docker://
	remote   name.Reference
}

// String returns the reference as it was written, without "docker://".
func (r Reference) String() string { return r.text }

// Pinned tells whether the reference names its image by digest.
func (r Reference) Pinned() bool {
	return r.digest != "" || r.Kind == DockerDaemon && strings.HasPrefix(r.selector, "sha256:")
}

// at is the reference to the same place by digest. It stays as it is for "" and for
// kinds that keep no manifests.
func (r Reference) at(digest string) (Reference, error) {
	if digest == "" || r.Kind == DockerArchive || r.Kind == DockerDaemon {
		return r, nil
	}
	if _, err := cache.Hex(digest); err != nil {
		return r, fmt.Errorf("opening image %q by digest %q: %w", r, digest, err)
	}
	r.digest = digest
	if r.remote != nil {
		r.remote = r.remote.Context().Digest(digest)
	}
	return r, nil
}

// Parse reads a reference.
func Parse(ref string) (Reference, error) {
	r, err := parse(ref)
	if err != nil {
		return Reference{}, fmt.Errorf("reading image reference %q: %w", ref, err)
	}
	return r, nil
}

func parse(ref string) (Reference, error) {
	if strings.HasPrefix(ref, "/") || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, "../") {
		return Reference{}, errors.New("that is a path; write oci:FOLDER for a layout, oci-archive:FILE or docker-archive:FILE")
	}
	kind, rest, _ := strings.Cut(ref, ":")
	switch Kind(kind) {
	case Layout, OCIArchive, DockerArchive:
		return parseLocal(Kind(kind), ref, rest)
	case DockerDaemon:
		return parseDaemon(ref, rest)
	case Registry:
		if rest, ok := strings.CutPrefix(rest, "//"); ok {
			return parseRemote(rest)
		}
	case "http", "https":
		return Reference{}, errors.New("an image reference has no URL scheme; write HOST/NAME:TAG")
	}
	return parseRemote(ref)
}

func parseLocal(kind Kind, ref, rest string) (Reference, error) {
	r := Reference{Kind: kind, text: ref}
	r.path = rest
	if at := strings.LastIndex(rest, "@sha256:"); at >= 0 && kind != DockerArchive {
		r.path, r.digest = rest[:at], rest[at+1:]
		if _, err := cache.Hex(r.digest); err != nil {
			return r, err
		}
	} else if file, selector, ok := strings.Cut(rest, ":"); ok {
		r.path, r.selector = file, selector
		if selector == "" {
			return r, errors.New("nothing after the last colon")
		}
	}
	if r.path == "" {
		return r, fmt.Errorf("want %s:PATH", kind)
	}
	r.Name = baseName(r.path)
	r.Tag = r.selector
	if kind == DockerArchive && r.selector != "" {
		tag, err := name.NewTag(r.selector)
		if err != nil {
			return r, err
		}
		r.Name, r.Tag = path.Base(tag.RepositoryStr()), tag.TagStr()
	}
	return r, nil
}

// baseName names an image after its directory or archive.
func baseName(file string) string {
	base := filepath.Base(file)
	for _, suffix := range []string{".gz", ".tgz", ".zst", ".tar", ".oci"} {
		if trimmed := strings.TrimSuffix(base, suffix); trimmed != "" {
			base = trimmed
		}
	}
	if strings.Trim(base, "./\\") == "" {
		return "image"
	}
	return base
}

func parseDaemon(ref, rest string) (Reference, error) {
	if digits, ok := strings.CutPrefix(rest, "sha256:"); ok { // an image's ID
		if _, err := cache.Hex(rest); err != nil {
			return Reference{}, err
		}
		return Reference{Kind: DockerDaemon, text: ref, selector: rest, Name: digits[:12]}, nil
	}
	r, err := parseRemote(rest)
	r.Kind, r.text, r.selector = DockerDaemon, ref, rest
	if r.digest == "" && !strings.HasSuffix(rest, ":"+r.Tag) {
		r.selector = rest + ":" + r.Tag // of a name alone the daemon saves all tags
	}
	return r, err
}

func parseRemote(ref string) (Reference, error) {
	r := Reference{Kind: Registry, text: ref}
	tagged, digest, pinned := strings.Cut(ref, "@")
	tag, err := name.NewTag(tagged)
	if err != nil {
		return r, bareNameError(err)
	}
	r.remote, r.Tag = tag, tag.TagStr()
	r.Name = path.Base(tag.RepositoryStr())
	if !pinned {
		return r, nil
	}
	if _, err := cache.Hex(digest); err != nil {
		return r, err
	}
	r.digest = digest
	if !strings.HasSuffix(tagged, ":"+r.Tag) {
		r.Tag = "" // NewTag made it up
	}
	r.remote = tag.Repository.Digest(digest)
	return r, nil
}

// bareNameError adds the one hint that is needed again and again.
func bareNameError(err error) error {
	if strings.Contains(err.Error(), "repository can only contain") {
		return fmt.Errorf("%w (repository names are lower case)", err)
	}
	return err
}

// repository returns a remote reference's repository in the words people use:
// docker.io/library/nginx.
func (r Reference) repository() string {
	if r.remote == nil {
		return ""
	}
	repo := r.remote.Context()
	host := repo.RegistryStr()
	if host == name.DefaultRegistry {
		host = "docker.io"
	}
	return host + "/" + repo.RepositoryStr()
}
