package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// MaxBundle is the largest attestation that [Client.KeepAttestation] sends, in bytes.
// GitHub does not say what it takes.
const MaxBundle = 16 << 20

// KeepAttestation has GitHub keep an attestation, which is a Sigstore bundle as JSON,
// for the repository. GitHub files it under the digest of each of its subjects, where
// those who verify look for it ([AttestationURL] is its page). The bundle is not
// verified here.
//
// What can pass is tried again. When an answer is lost, nobody can tell whether the
// attestation was kept, so it is sent again: at worst GitHub keeps two that are
// identical, which verify as one does. A refusal is an [*Error] that says what to do.
func (c *Client) KeepAttestation(ctx context.Context, bundle []byte) (id int64, err error) {
	what := fmt.Sprintf("keeping an attestation in %s/%s", c.owner, c.repo)
	bundle = bytes.TrimSpace(bundle)
	if len(bundle) > MaxBundle {
		return 0, &Error{Reason: TooLarge, What: what, Why: fmt.Sprintf("the bundle has %d bytes: want %d at most", len(bundle), MaxBundle)}
	}
	if !json.Valid(bundle) || bundle[0] != '{' {
		return 0, &Error{Reason: Invalid, What: what, Why: "the bundle is no JSON object"}
	}
	err = c.persist(ctx, func() (int, error) {
		id, err = c.postAttestation(ctx, bundle)
		return 0, c.refusedAttestation(c.judge(ctx, what, writeAttestations, err))
	})
	return id, err
}

func (c *Client) postAttestation(ctx context.Context, bundle []byte) (int64, error) {
	body := struct {
		Bundle json.RawMessage `json:"bundle"`
	}{bundle}
	req, err := c.gh.NewRequest(ctx, http.MethodPost, fmt.Sprintf("repos/%s/%s/attestations", c.owner, c.repo), body)
	if err != nil {
		return 0, err
	}
	var kept struct {
		ID int64 `json:"id"`
	}
	_, err = c.gh.Do(req, &kept)
	return kept.ID, err
}

// refusedAttestation says what a refusal means here.
func (c *Client) refusedAttestation(err error) error {
	e, ok := err.(*Error)
	if !ok {
		return err
	}
	plans := "a private or internal repository needs GitHub Enterprise Cloud for attestations"
	switch e.Status {
	case http.StatusForbidden:
		if e.Reason == Forbidden {
			e.Do = c.permit(writeAttestations) + "; " + plans
		}
	case http.StatusNotFound:
		e.Do = fmt.Sprintf("check the name %s/%s and that the token has %q; %s, and GitHub Enterprise Server keeps none", c.owner, c.repo, writeAttestations, plans)
	case http.StatusUnprocessableEntity:
		e.Do = "GitHub does not take this bundle: it takes what its own or the public-good Sigstore signed; " + plans
	}
	return e
}

// AttestationURL is the page of an attestation that GitHub keeps. server is
// https://github.com or GITHUB_SERVER_URL.
func AttestationURL(server, repo string, id int64) string {
	return fmt.Sprintf("%s/%s/attestations/%d", trimSlash(server), repo, id)
}
