// Package attestations asks GitHub which attestations it keeps about a file.
// https://docs.github.com/rest/repos/attestations
//
// The answer holds Sigstore bundles, or addresses in GitHub's store, where they are
// packed with Snappy. The token goes to the API's host alone: an address in the store
// carries its own permission, and leads to no private host on a public one's word.
// Nothing that is returned has been verified.
//
// # Limits and failure
//
// Limits are the caller's, see [API]. No attestation is no error. Errors are those of
// package fetch, or say what in the answer is wrong; they come with nothing.
package attestations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/klauspost/compress/s2"

	"github.com/volant/fledge-action/build/fetch"
)

// API is where to ask, and how much to take.
type API struct {
	Fetch      *fetch.Client
	Repository string // URL of the repository in the API, without a slash at its end
	Host       string // of the API, with its port: it gets the token
	Token      string // "" asks anonymously

	MaxAnswer int64 // bytes of the API's answer
	MaxBundle int64 // bytes of a bundle that is stored elsewhere, packed and unpacked
	Most      int   // bundles that are read; those after it are left out
}

// Of returns the bundles about a digest, "sha256:" and hex, each as JSON.
func (a API) Of(ctx context.Context, digest string) ([][]byte, error) {
	body, err := a.Fetch.Bytes(ctx, fetch.Request{
		URL: fmt.Sprintf("%s/attestations/%s?per_page=%d", a.Repository, digest, min(a.Most, 100)), Max: a.MaxAnswer,
		Accept: "application/vnd.github+json", Token: a.Token, TokenHost: a.Host,
	})
	var status *fetch.StatusError
	switch {
	case errors.As(err, &status) && status.Code == http.StatusNotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	var answer struct {
		Attestations []struct {
			Bundle json.RawMessage `json:"bundle"`
			URL    string          `json:"bundle_url"` // where it is if the answer does not have it
		} `json:"attestations"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: it is not what GitHub's API sends: %w", a.Host, err)
	}
	var found [][]byte
	for _, at := range answer.Attestations[:min(len(answer.Attestations), a.Most)] {
		bundle := []byte(at.Bundle)
		if len(bundle) == 0 || string(bundle) == "null" {
			if bundle, err = a.stored(ctx, at.URL); err != nil {
				return nil, err
			}
		}
		found = append(found, bundle)
	}
	return found, nil
}

// stored fetches a bundle from GitHub's store.
func (a API) stored(ctx context.Context, address string) ([]byte, error) {
	packed, err := a.Fetch.Bytes(ctx, fetch.Request{URL: address, Max: a.MaxBundle, Origin: a.Host})
	if err != nil {
		return nil, err
	}
	size, err := s2.DecodedLen(packed)
	if err != nil {
		return nil, fmt.Errorf("unpacking a stored bundle: %w", err)
	}
	if int64(size) > a.MaxBundle {
		return nil, fmt.Errorf("unpacking a stored bundle: it has %d bytes uncompressed, the limit is %d", size, a.MaxBundle)
	}
	bundle, err := s2.Decode(nil, packed)
	if err != nil {
		return nil, fmt.Errorf("unpacking a stored bundle: %w", err)
	}
	return bundle, nil
}
