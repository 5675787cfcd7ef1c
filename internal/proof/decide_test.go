package proof

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
)

// source records what it was asked for.
type source struct {
	claims statement.Claims
	err    error
	calls  []string
}

func (s *source) Claims(context.Context) (statement.Claims, error) {
	s.calls = append(s.calls, "claims")
	return s.claims, s.err
}

func (s *source) Keyless(_ context.Context, i Instance) (Signer, string, error) {
	s.calls = append(s.calls, "keyless "+string(i))
	return nil, "", nil
}

func (s *source) Key(context.Context) (Signer, string, error) {
	s.calls = append(s.calls, "key")
	return nil, "", nil
}

func TestDecide(t *testing.T) {
	const fork = "no OIDC token: the job needs `permissions: id-token: write`"
	public, private := statement.Claims{RepositoryVisibility: "public"}, statement.Claims{RepositoryVisibility: "private"}
	tests := map[string]struct {
		choice Choice
		claims statement.Claims
		mode   Mode
		calls  string // of the source
		notice string
		err    string
	}{
		"public repository":         {Choice{}, public, Keyless, "claims,keyless public-good", "", ""},
		"private repository":        {Choice{}, private, Keyless, "claims,keyless github", "", ""},
		"internal repository":       {Choice{}, statement.Claims{RepositoryVisibility: "internal"}, Keyless, "claims,keyless github", "", ""},
		"visibility unknown":        {Choice{}, statement.Claims{}, Keyless, "claims,keyless github", "", ""},
		"custom instance":           {Choice{HasCustom: true}, public, Keyless, "claims,keyless custom", "", ""},
		"no token":                  {Choice{NoToken: fork}, public, None, "", "unsigned: " + fork, ""},
		"key without token":         {Choice{HasKey: true, NoToken: fork}, public, Key, "key", "", ""},
		"key and token":             {Choice{HasKey: true}, public, Key, "key", "", ""},
		"keyless in spite of a key": {Choice{Sign: Keyless, HasKey: true}, public, Keyless, "claims,keyless public-good", "", ""},
		"keyless without token":     {Choice{Sign: Keyless, NoToken: fork}, public, "", "", "", "--sign keyless: " + fork},
		"required without token":    {Choice{Need: Required, NoToken: fork}, public, "", "", "", "--attest required: nothing to sign with: " + fork + ", and there is no --key"},
		"required with key":         {Choice{Need: Required, HasKey: true, NoToken: fork}, public, Key, "key", "", ""},
		"off":                       {Choice{Need: Off, HasKey: true}, public, None, "", "", ""},
		"none":                      {Choice{Sign: None, HasKey: true}, public, None, "", "", ""},
		"required but none":         {Choice{Need: Required, Sign: None}, public, "", "", "", "--attest required and --sign none exclude each other"},
		"off but key":               {Choice{Need: Off, Sign: Key, HasKey: true}, public, "", "", "", "--attest off and --sign key exclude each other"},
		"key without key":           {Choice{Sign: Key}, public, "", "", "", "--sign key: name the private key with --key FILE, or put it into FLEDGE_SIGNING_KEY"},
		"unknown way":               {Choice{Sign: "gpg"}, public, "", "", "", `--sign "gpg": want auto, keyless, key or none`},
		"unknown need":              {Choice{Need: "yes"}, public, "", "", "", `--attest "yes": want auto, required or off`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			from := &source{claims: tt.claims}
			p, err := Decide(t.Context(), tt.choice, from)
			if tt.err != "" {
				var choice *ChoiceError
				if !errors.As(err, &choice) || err.Error() != tt.err {
					t.Fatalf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Mode != tt.mode || p.Notice != tt.notice {
				t.Errorf("mode %s, notice %q; want %s, %q", p.Mode, p.Notice, tt.mode, tt.notice)
			}
			if got := join(from.calls); got != tt.calls {
				t.Errorf("asked for %q, want %q", got, tt.calls)
			}
		})
	}
}

func TestATokenThatCannotBeHadEndsTheBuildBeforeItBegins(t *testing.T) {
	from := &source{err: errors.New("OIDC token endpoint answered 500")}
	_, err := Decide(t.Context(), Choice{}, from)
	want := "asking who signs: OIDC token endpoint answered 500; nothing was built: try again, or build unsigned with --attest off"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if join(from.calls) != "claims" {
		t.Errorf("asked for %q", from.calls)
	}
}

func join(all []string) string { return strings.Join(all, ",") }
