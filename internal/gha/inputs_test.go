package gha

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func inputs(pairs ...string) *Inputs { return New(env(pairs...), io.Discard).Inputs() }

func TestInputsAreFoundAsTheRunnerWritesThem(t *testing.T) {
	in := inputs("INPUT_CHECK-REPRODUCIBLE", "true", "INPUT_A_NAME", " text \n", "INPUT_ID", "42", "INPUT_SIGN", "KeyLess",
		"INPUT_CONFIG", "a.toml\r\n  b dir/*.toml\n\n", "check-reproducible", "false")
	if !in.Bool("check-reproducible") {
		t.Error("check-reproducible is false")
	}
	if got := in.String("a name"); got != "text" {
		t.Errorf("a name is %q", got)
	}
	if got := in.Int("id"); got != 42 {
		t.Errorf("id is %d", got)
	}
	if got := in.OneOf("sign", "auto", "keyless"); got != "keyless" {
		t.Errorf("sign is %q", got)
	}
	if diff := cmp.Diff([]string{"a.toml", "b dir/*.toml"}, in.Lines("config")); diff != "" {
		t.Error(diff)
	}
	if err := in.Err(); err != nil {
		t.Error(err)
	}
}

func TestEmptyInputsAreNotGiven(t *testing.T) {
	in := inputs("INPUT_SET", " ", "INPUT_OFF", "FALSE")
	if in.String("set") != "" || in.Bool("set") || !in.BoolOr("set", true) || in.BoolOr("off", true) || in.Int("set") != 0 ||
		in.OneOf("set", "auto", "key") != "auto" || in.OneOf("set", "", "legacy") != "" || in.Lines("set") != nil || in.Secret("unset") != "" {
		t.Error("an empty input is something")
	}
	if err := in.Err(); err != nil {
		t.Error(err)
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	in := inputs("INPUT_LOCKED", "yes", "INPUT_SIGN", "Keyles", "INPUT_RELEASE-ID", "-1", "INPUT_BIG", "9223372036854775808",
		"INPUT_MAKE-LATEST", strings.Repeat("ü", 100), "INPUT_MAX", "9223372036854775807", "INPUT_OUTPUT-DIR", "../a\n")
	in.Bool("locked")
	in.OneOf("sign", "auto", "keyless", "key", "none")
	in.Int("release-id")
	in.Int("big")
	in.OneOf("make-latest", "", "true", "false")
	if in.Int("max") != 1<<63-1 {
		t.Error("the largest number is refused")
	}
	in.Required("target", "a file or a release")
	in.Reject("output-dir", "below the workspace")
	want := strings.Join([]string{
		`input "locked" is "yes": it has to be true or false`,
		`input "sign" is "Keyles": it has to be auto, keyless, key or none (did you mean "keyless"?)`,
		`input "release-id" is "-1": it has to be a whole number, 0 or more`,
		`input "big" is "9223372036854775808": it has to be a whole number, 0 or more`,
		`input "make-latest" is "` + strings.Repeat("ü", 48) + `…": it has to be true or false`,
		`input "target" is missing: it has to be a file or a release`,
		`input "output-dir" is "../a": it has to be below the workspace`,
	}, "\n")
	err := in.Err()
	if err == nil || err.Error() != want {
		t.Errorf("mistakes\n%v\nwant\n%s", err, want)
	}
	var all InputErrors
	var first *InputError
	if !errors.As(err, &all) || len(all) != 7 || !errors.As(err, &first) || first.Name != "locked" {
		t.Errorf("%T does not lead to its mistakes", err)
	}
}

func TestSecretsAreMaskedAndNotInErrors(t *testing.T) {
	var out bytes.Buffer
	w := New(env("INPUT_KEY-PASSWORD", " pass word \n", "INPUT_LOCKED", "pass word"), &out)
	in := w.Inputs()
	if got := in.Secret("key-password"); got != " pass word " {
		t.Errorf("the password is %q", got)
	}
	if got := out.String(); got != "::add-mask::pass word\n" {
		t.Errorf("the log has %q", got)
	}
	in.Bool("locked")
	if err := in.Err(); err == nil || strings.Contains(err.Error(), "pass") {
		t.Errorf("%v", err)
	}
}
