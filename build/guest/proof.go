package guest

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/volant/fledge-action/build/fetch"
	"github.com/volant/fledge-action/build/fetch/attestations"
)

// Limits of what is read of attestations.
const (
	MaxBundles = 8              // assets with attestations that are read
	MaxBundle  = fetch.MaxBytes // bytes of one of them, or of the API's answer
)

// Bundle is a file of attestations as it was published, unverified.
type Bundle struct {
	Source string // the asset's name, or "GitHub's attestations"
	Data   []byte // one Sigstore bundle as JSON, or one in each line
}

// Prover verifies attestations about the file with a name and a digest ("sha256:"
// and hex) against the identity of Volant's repository, and says who signed them. It
// returns "" when none is about this file, and an error when one is and does not
// hold.
type Prover func(ctx context.Context, name, digest string, bundles []Bundle) (signer string, err error)

// prove asks r.Prove about an asset of a release. Attestations are looked for among
// the release's assets, and in GitHub's store of them. That there is none is no
// error: the checksum that the release has for the file was checked already. Nor is
// an answer that cannot be had, which is a warning.
func (g *github) prove(ctx context.Context, r Request, rel release, a asset, digest string) (signer string, warnings []string, err error) {
	if r.Prove == nil {
		return "", nil, nil
	}
	for _, find := range []func() ([]Bundle, error){
		func() ([]Bundle, error) { return g.attached(ctx, rel, a) },
		func() ([]Bundle, error) { return g.stored(ctx, digest) },
	} {
		bundles, err := find()
		if ctx.Err() != nil {
			return "", nil, ctx.Err()
		}
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("looking for attestations of %s %s: %v; only its checksum was checked", a.Name, rel.Tag, err))
			continue
		}
		if len(bundles) == 0 {
			continue
		}
		switch signer, err := r.Prove(ctx, a.Name, digest, bundles); {
		case err != nil:
			return "", nil, fmt.Errorf("verifying the attestation of %s of release %q: %w", a.Name, rel.Tag, err)
		case signer != "":
			return signer, warnings, nil
		}
	}
	return "", warnings, nil
}

// attached reads the assets that may be attestations about a: those whose names say
// that they are about it, then those about the whole release.
func (g *github) attached(ctx context.Context, rel release, a asset) ([]Bundle, error) {
	var own, whole []asset
	for _, other := range rel.Assets {
		switch {
		case !holdsBundles(other.Name) || other.State != "" && other.State != "uploaded":
		case strings.HasPrefix(other.Name, a.Name+"."):
			own = append(own, other)
		default:
			whole = append(whole, other)
		}
	}
	all := append(own, whole...)
	var found []Bundle
	for _, b := range all[:min(len(all), MaxBundles)] {
		data, err := g.fetch.Bytes(ctx, fetch.Request{
			URL: g.assetURL(b), SHA256: gitHubDigest(b), Max: MaxBundle, Accept: acceptBytes, Token: g.token, TokenHost: g.host,
		})
		if err != nil {
			return nil, g.explain(err)
		}
		found = append(found, Bundle{Source: b.Name, Data: data})
	}
	return found, nil
}

// holdsBundles tells by its name whether a file holds Sigstore bundles: the names are
// those that cosign, goreleaser and GitHub's own action and command line write.
func holdsBundles(name string) bool {
	lower := strings.ToLower(name)
	for _, end := range []string{".sigstore.json", ".sigstore", ".intoto.jsonl", ".bundle.json"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	ext := path.Ext(lower)
	return (ext == ".json" || ext == ".jsonl") && (strings.Contains(lower, "attestation") || strings.Contains(lower, "provenance"))
}

// stored asks GitHub which attestations it keeps about a digest.
func (g *github) stored(ctx context.Context, digest string) ([]Bundle, error) {
	all, err := attestations.API{
		Fetch: g.fetch, Repository: strings.TrimSuffix(g.base, "/releases"), Host: g.host, Token: g.token,
		MaxAnswer: MaxBundle, MaxBundle: MaxBundle, Most: MaxBundles,
	}.Of(ctx, digest)
	if err != nil {
		return nil, g.explain(err)
	}
	var found []Bundle
	for _, b := range all {
		found = append(found, Bundle{Source: "GitHub's attestations", Data: b})
	}
	return found, nil
}
