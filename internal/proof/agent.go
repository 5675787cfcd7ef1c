package proof

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/volant/fledge-action/attest/trust"
	"github.com/volant/fledge-action/attest/verify"
	"github.com/volant/fledge-action/build/guest"
)

// AgentRepository is where Volant's releases are built, and so who has to have signed
// an attestation of the agent.
const AgentRepository = "volantvm/volant"

// AgentProver verifies attestations of the agent. roots gives the trusted roots; it is
// called once there is something to verify.
func AgentProver(roots func(context.Context) ([]*trust.Root, error)) guest.Prover {
	return func(ctx context.Context, name, digest string, found []guest.Bundle) (string, error) {
		var bundles []verify.Bundle
		for _, f := range found {
			some, err := verify.Bundles(f.Source, f.Data)
			if err != nil {
				return "", err
			}
			bundles = append(bundles, some...)
		}
		trusted, err := roots(ctx)
		if err != nil {
			return "", fmt.Errorf("getting the trusted roots: %w", err)
		}
		r, err := verify.Digest(ctx, strings.TrimPrefix(digest, "sha256:"), name, bundles, verify.Policy{Repo: AgentRepository, Roots: trusted})
		switch {
		case err == nil:
			return r.Bundles[0].Signer.Identity, nil
		case errors.Is(err, verify.ErrNothing) || aboutOthers(err):
			return "", nil
		}
		return "", err
	}
}

// aboutOthers tells whether a file did not verify because nothing was said about it:
// a release's attestations may be about its other files, and its JSON files about
// anything.
func aboutOthers(err error) bool {
	var failed *verify.Error
	if !errors.As(err, &failed) {
		return false
	}
	for _, p := range failed.Problems {
		switch p.Kind {
		case verify.Format, verify.Subject, verify.Missing:
		default:
			return false
		}
	}
	return true
}
