package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/volant/fledge-action/attest/oidc"
	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/internal/proof"
)

// signFlags are what build and attest share.
type signFlags struct {
	sign, attest, key, trustedRoot, signingConfig, issuer string
	github                                                string // whether to keep attestations there
	budget                                                time.Duration
}

// signEnvironment is the part of a command's help that belongs to signFlags.
const signEnvironment = `  FLEDGE_SIGNING_KEY  the private key to sign with, as PEM, or the name of its file
  COSIGN_PASSWORD     the key's password
  ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN  set in jobs with "permissions: id-token: write"
  GITHUB_REPOSITORY, GITHUB_TOKEN  for --github-attestations: where to, with "permissions: attestations: write"
  GITHUB_API_URL, GITHUB_SERVER_URL  the API (default https://api.github.com) and the web pages`

func addSignFlags(cmd *cobra.Command, f *signFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.sign, "sign", string(proof.Auto), "`how` to sign: keyless, key, none, or auto: with a key if there is one, else keyless if the job has an OIDC token")
	flags.StringVar(&f.attest, "attest", string(proof.AsItGoes), "`whether` to sign: auto, required (unsigned is an error, before anything is built) or off")
	flags.StringVar(&f.key, "key", "", "private key `file` to sign with, made by cosign or a PEM")
	flags.StringVar(&f.trustedRoot, "trusted-root", "", "trusted_root.json `file` of a Sigstore instance of one's own")
	flags.StringVar(&f.signingConfig, "signing-config", "", "signing_config.json `file` of that instance")
	flags.StringVar(&f.issuer, "oidc-issuer", "", "`URL` of the issuer of the job's token, where it is not GitHub's for the server in GITHUB_SERVER_URL")
	flags.StringVar(&f.github, "github-attestations", string(proof.Off), "`whether` to have GitHub keep what is signed, too: auto (a refusal is only told), required (it is an error) or off")
	flags.DurationVar(&f.budget, "attest-timeout", sign.DefaultBudget, "how long to wait in all for signing services that fail")
}

// maxKey is the longest key, private or public, in bytes.
const maxKey = 64 << 10

// plan decides how to sign. warn hears of what is tried again.
func (p *Program) plan(ctx context.Context, f signFlags, cacheDir string, warn func(error)) (*proof.Plan, error) {
	if (f.trustedRoot == "") != (f.signingConfig == "") {
		return nil, usageError{errors.New("--trusted-root and --signing-config belong together: one verifies what the other signs")}
	}
	services := &proof.Services{
		TrustedRoot: f.trustedRoot, SigningConfig: f.signingConfig, Password: []byte(p.Getenv("COSIGN_PASSWORD")),
		Budget: f.budget, Warn: warn, CacheDir: p.trustOptions(cacheDir, false, nil).CacheDir,
	}
	choice := proof.Choice{Sign: proof.Mode(f.sign), Need: proof.Need(f.attest), HasCustom: f.trustedRoot != ""}
	var err error
	if services.PrivateKey, err = p.signingKey(f.key); err != nil {
		return nil, err
	}
	choice.HasKey = services.PrivateKey != nil
	if services.OIDC, choice.NoToken, err = p.tokens(f, warn); err != nil {
		return nil, err
	}
	plan, err := proof.Decide(ctx, choice, services)
	var wrong *proof.ChoiceError
	if errors.As(err, &wrong) {
		return nil, usageError{err}
	}
	return plan, err
}

// tokens finds the job's token endpoint, or why there is none.
func (p *Program) tokens(f signFlags, warn func(error)) (*oidc.Source, string, error) {
	if ok, reason := oidc.Available(p.Getenv); !ok {
		return nil, reason, nil
	}
	source, err := oidc.FromEnv(p.Getenv, f.issuer)
	if err != nil {
		return nil, "", usageError{err}
	}
	source.Mask = p.Mask
	source.Retry.Budget, source.Retry.Warn = f.budget, warn
	return source, "", nil
}

// signingKey reads the private key; nil is none.
func (p *Program) signingKey(path string) ([]byte, error) {
	if path == "" {
		text := p.Getenv("FLEDGE_SIGNING_KEY")
		switch {
		case text == "":
			return nil, nil
		case strings.Contains(text, "-----BEGIN"):
			return []byte(text), nil
		}
		path = text
	}
	if err := sign.CheckKeyRef(path); err != nil {
		return nil, usageError{err}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("reading the signing key: %w", err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the signing key: %w", err)
	case len(data) > maxKey:
		return nil, usageError{fmt.Errorf("reading the signing key: %s has more than %d bytes; it is no key", path, maxKey)}
	}
	return data, nil
}

// programDigest is the sha256 of fledge itself.
func (p *Program) programDigest() (string, error) {
	if p.Executable == "" {
		return "", errors.New("hashing fledge's own program: the system does not tell where it is")
	}
	f, err := os.Open(p.Executable)
	if err != nil {
		return "", fmt.Errorf("hashing fledge's own program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hashing fledge's own program: %w", err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
