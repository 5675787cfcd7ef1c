package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/klauspost/compress/s2"

	"github.com/volant/fledge-action/build/fetch"
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

// stored asks GitHub's attestations API about a digest.
// https://docs.github.com/rest/repos/attestations
func (g *github) stored(ctx context.Context, digest string) ([]Bundle, error) {
	body, err := g.fetch.Bytes(ctx, fetch.Request{
		URL: strings.TrimSuffix(g.base, "/releases") + "/attestations/" + digest, Max: MaxBundle, Accept: acceptJSON, Token: g.token, TokenHost: g.host,
	})
	switch {
	case isNotFound(err):
		return nil, nil
	case err != nil:
		return nil, g.explain(err)
	}
	var answer struct {
		Attestations []struct {
			Bundle json.RawMessage `json:"bundle"`
			URL    string          `json:"bundle_url"` // where it is when the answer does not have it
		} `json:"attestations"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the answer is not what GitHub's API sends (%s): %w", http.StatusText(http.StatusOK), err)
	}
	var found []Bundle
	for _, at := range answer.Attestations[:min(len(answer.Attestations), MaxBundles)] {
		data := []byte(at.Bundle)
		if len(data) == 0 || string(data) == "null" {
			if data, err = g.elsewhere(ctx, at.URL); err != nil {
				return nil, err
			}
		}
		found = append(found, Bundle{Source: "GitHub's attestations", Data: data})
	}
	return found, nil
}

// elsewhere fetches a bundle from GitHub's store, which keeps them packed with Snappy.
// The address carries its own permission: the token does not go there.
func (g *github) elsewhere(ctx context.Context, address string) ([]byte, error) {
	packed, err := g.fetch.Bytes(ctx, fetch.Request{URL: address, Max: MaxBundle, Accept: acceptBytes})
	if err != nil {
		return nil, err
	}
	size, err := s2.DecodedLen(packed)
	if err != nil || size > MaxBundle {
		return nil, fmt.Errorf("the stored bundle has %d bytes (%v), the limit is %d", size, err, MaxBundle)
	}
	data, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("unpacking the stored bundle: %w", err)
	}
	return data, nil
}
