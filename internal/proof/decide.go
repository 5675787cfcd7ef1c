package proof

import (
	"context"
	"errors"
	"fmt"

	"github.com/volant/fledge-action/attest/statement"
)

// Mode is how statements are signed.
type Mode string

// Modes, in the words of --sign. Auto is a key if there is one, else keyless where
// that can be had, else none.
const (
	Auto    Mode = "auto"
	Keyless Mode = "keyless"
	Key     Mode = "key"
	None    Mode = "none"
)

// Need is how much signing matters, in the words of --attest.
type Need string

// Needs.
const (
	AsItGoes Need = "auto"     // sign where it can be done
	Required Need = "required" // unsigned is an error
	Off      Need = "off"      // sign nothing
)

// Instance is who vouches for a keyless signature.
type Instance string

// Instances of Sigstore.
const (
	PublicGood Instance = "public-good" // everybody can read its log
	GitHub     Instance = "github"      // for private repositories: no public log
	Custom     Instance = "custom"      // of a trusted root and a signing config
)

// Choice is what the user says about signing.
type Choice struct {
	Sign Mode // "" is Auto
	Need Need // "" is AsItGoes

	HasKey    bool   // there is a key
	HasCustom bool   // there are a trusted root and a signing config
	NoToken   string // why there is no OIDC token; "" if there is one
}

// ChoiceError is a choice that cannot be had. Its text says what to do.
type ChoiceError struct{ Message string }

func (e *ChoiceError) Error() string { return e.Message }

func refuse(format string, args ...any) error { return &ChoiceError{fmt.Sprintf(format, args...)} }

// decision is what a choice comes to.
type decision struct {
	mode   Mode
	notice string // why nothing will be signed, though it was not asked for
}

// decide turns a choice into a mode.
func (c Choice) decide() (decision, error) {
	if err := c.check(); err != nil {
		return decision{}, err
	}
	switch {
	case c.Need == Off || c.Sign == None:
		return decision{mode: None}, nil
	case c.Sign == Key || c.HasKey && c.Sign != Keyless:
		return decision{mode: Key}, nil
	case c.NoToken == "":
		return decision{mode: Keyless}, nil
	case c.Sign == Keyless:
		return decision{}, refuse("--sign keyless: %s", c.NoToken)
	case c.Need == Required:
		return decision{}, refuse("--attest required: nothing to sign with: %s, and there is no --key", c.NoToken)
	}
	return decision{mode: None, notice: "unsigned: " + c.NoToken}, nil
}

func (c Choice) check() error {
	switch c.Sign {
	case "", Auto, Keyless, Key, None:
	default:
		return refuse("--sign %q: want auto, keyless, key or none", c.Sign)
	}
	switch c.Need {
	case "", AsItGoes, Required, Off:
	default:
		return refuse("--attest %q: want auto, required or off", c.Need)
	}
	switch {
	case c.Need == Required && c.Sign == None:
		return refuse("--attest required and --sign none exclude each other")
	case c.Need == Off && (c.Sign == Keyless || c.Sign == Key):
		return refuse("--attest off and --sign %s exclude each other", c.Sign)
	case c.Sign == Key && !c.HasKey:
		return refuse("--sign key: name the private key with --key FILE, or put it into FLEDGE_SIGNING_KEY")
	}
	return nil
}

// instance chooses who vouches. What is private must not appear in a public log, and
// what does not say that it is public counts as private.
func (c Choice) instance(claims statement.Claims) Instance {
	switch {
	case c.HasCustom:
		return Custom
	case claims.RepositoryVisibility == "public":
		return PublicGood
	}
	return GitHub
}

// Plan is a decision and what it needs.
type Plan struct {
	Mode   Mode
	Notice string // for the user: why nothing will be signed; "" if there is nothing to say
	Signer string // for the user: who will sign and who vouches; "" with None

	signer Signer
	claims *statement.Claims // of keyless signing
}

// Source makes what a plan needs. Each method is called at most once, and only if
// the decision needs it.
type Source interface {
	// Claims asks for the verified claims of the job.
	Claims(ctx context.Context) (statement.Claims, error)
	// Keyless makes a signer with an identity that an instance vouches for.
	Keyless(ctx context.Context, i Instance) (Signer, string, error)
	// Key makes a signer with the private key.
	Key(ctx context.Context) (Signer, string, error)
}

// errNoSource is a caller's mistake.
var errNoSource = errors.New("deciding how to sign: nothing makes signers")

// Decide says how to sign, before anything is built, and gets what that takes.
func Decide(ctx context.Context, c Choice, from Source) (*Plan, error) {
	d, err := c.decide()
	if err != nil {
		return nil, err
	}
	p := &Plan{Mode: d.mode, Notice: d.notice}
	if p.Mode == None {
		return p, nil
	}
	if from == nil {
		return nil, errNoSource
	}
	if p.Mode == Key {
		p.signer, p.Signer, err = from.Key(ctx)
		return p, err
	}
	claims, err := from.Claims(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking who signs: %w; nothing was built: try again, or build unsigned with --attest off", err)
	}
	p.claims = &claims
	p.signer, p.Signer, err = from.Keyless(ctx, c.instance(claims))
	return p, err
}
