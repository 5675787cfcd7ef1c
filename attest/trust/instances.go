package trust

import (
	"context"
	"embed"
	"fmt"
	"net/http"
)

// Options say how to come by a known instance's root.
type Options struct {
	// Offline sends nothing: a cached copy while its metadata is valid, else the one
	// that is compiled in.
	Offline bool
	// CacheDir keeps what TUF gave, in a folder for each instance; "" keeps nothing.
	CacheDir string
	// Transport sends the requests; nil means http.DefaultTransport, which takes
	// proxies from the environment.
	Transport http.RoundTripper
	// RekorV2 signs with the log of the second generation. Older gh, cosign before
	// 3.0.5 and npm do not verify its entries, hence it has to be asked for.
	RekorV2 bool
	// Warn hears why an older copy is used. Nil drops it.
	Warn func(error)
}

// PublicGood is the instance that everybody may use and whose log everybody may
// read.
func PublicGood(ctx context.Context, o Options) (*Root, error) { return publicGood.root(ctx, o) }

// GitHub is the instance for GitHub's private repositories. It has no log.
func GitHub(ctx context.Context, o Options) (*Root, error) { return github.root(ctx, o) }

// Known are the roots of both, which is all that GitHub's workflows sign with.
func Known(ctx context.Context, o Options) ([]*Root, error) {
	public, err := PublicGood(ctx, o)
	if err != nil {
		return nil, err
	}
	private, err := GitHub(ctx, o)
	if err != nil {
		return nil, err
	}
	return []*Root{public, private}, nil
}

//go:embed embedded
var embedded embed.FS

// An instance is a Sigstore with a TUF repository.
type instance struct {
	name      string // and its folder in embedded
	url       string // of the TUF repository
	signing   string // target and file of the signing config
	signingV2 string // the same with the new log; "" if there is none
	ownConfig bool   // the signing config is ours: the repository has none
	files     fileReader
}

type fileReader interface {
	ReadFile(name string) ([]byte, error)
}

const (
	trustedRoot = "trusted_root.json" // target and file
	tufRoot     = "tuf_root.json"     // file
)

var (
	publicGood = instance{
		name: "public-good", url: "https://tuf-repo-cdn.sigstore.dev", files: embedded,
		signing: "signing_config.v0.2.json", signingV2: "signing_config_rekor_v2.v0.2.json",
	}
	github = instance{
		name: "github", url: "https://tuf-repo.github.com", files: embedded,
		signing: "signing_config.json", ownConfig: true,
	}
)

// root finds the newest copy that can be believed.
func (in instance) root(ctx context.Context, o Options) (*Root, error) {
	if o.Warn == nil {
		o.Warn = func(error) {}
	}
	signing := in.signing
	if o.RekorV2 && in.signingV2 != "" {
		signing = in.signingV2
	}
	if !o.Offline {
		r, err := in.load(in.tuf(ctx, o), signing)
		if err == nil {
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("refreshing the trusted root of %s: %w", in.name, ctx.Err())
		}
		o.Warn(fmt.Errorf("refreshing the trusted root of %s: %w; using an older copy", in.name, err))
	}
	if in.cached(o) {
		r, err := in.load(in.tuf(ctx, Options{Offline: true, CacheDir: o.CacheDir}), signing)
		if err == nil {
			return r, nil
		}
		o.Warn(fmt.Errorf("reading the cached trusted root of %s: %w; using the one that fledge came with", in.name, err))
	}
	return in.load(in.embedded, signing)
}

// target gives the bytes of a target of an instance's repository.
type target func(name string) ([]byte, error)

func (in instance) embedded(name string) ([]byte, error) {
	return in.files.ReadFile("embedded/" + in.name + "/" + name)
}

// load makes a root of an instance's targets.
func (in instance) load(from target, signing string) (*Root, error) {
	data, err := from(trustedRoot)
	if err != nil {
		return nil, err
	}
	r, err := parse(in.name, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", trustedRoot, err)
	}
	if in.ownConfig {
		from = in.embedded
	}
	if data, err = from(signing); err != nil {
		return nil, err
	}
	if r.Signing, err = parseSigning(data); err != nil {
		return nil, fmt.Errorf("%s: %w", signing, err)
	}
	return r, nil
}
