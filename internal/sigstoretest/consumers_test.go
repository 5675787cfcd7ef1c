package sigstoretest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/sigstoretest"
	"github.com/volant/fledge-action/internal/testneed"
)

// These tests give what fledge signs to the verifiers of others. They are run as
// docs/verify.md tells people to run them, in an environment that reaches nothing.

// types are cosign's names of the predicates.
var types = map[string]string{
	"provenance": "slsaprovenance1",
	"build":      statement.TypeBuild,
	"sbom":       "https://spdx.dev/Document/v2.3",
}

// A job is a stack, a release and its bundles as files.
type job struct {
	*sigstoretest.Stack
	*release
	github  bool
	bundles map[string]string // path by kind
}

func newJob(t *testing.T, o sigstoretest.Options) *job {
	t.Helper()
	s := sigstoretest.Start(t, o)
	r, bundles := signed(t, s, t.TempDir(), keyless(t, s, sign.Options{}))
	j := &job{s, r, o.GitHub, map[string]string{}}
	for kind, bundle := range bundles {
		j.bundles[kind] = j.write(t, kind+".sigstore.json", bundle)
	}
	return j
}

func (j *job) write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(j.dir, name)
	check(t, os.WriteFile(path, data, 0o644))
	return path
}

// run runs a program that reaches nothing but the stack. The error has what it said.
func (j *job) run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	return runIn(t, j.Stack, t.TempDir(), program, args...)
}

func runIn(t *testing.T, s *sigstoretest.Stack, dir, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(s.Env(), "HOME="+dir, "COSIGN_PASSWORD="+password)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, said.String())
	}
	return out.String(), err
}

const password = "of a test"

// cosigns are the two command lines.
func cosigns(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{"cosign v2": sigstoretest.Program(t, "cosign2"), "cosign v3": sigstoretest.Program(t, "cosign3")}
}

// args are those of "cosign verify-blob-attestation" for a bundle of the job, but for
// the file.
func (j *job) args(kind string) []string {
	args := []string{
		"verify-blob-attestation", "--bundle", j.bundles[kind], "--trusted-root", j.TrustedRoot,
		"--certificate-identity", j.Claims().SAN(), "--certificate-oidc-issuer", sigstoretest.Issuer,
		"--type", types[kind],
		"--use-signed-timestamps", // v2 needs it for Rekor v2, whose entries have no time
	}
	if j.github {
		args = append(args, "--insecure-ignore-tlog", "--insecure-ignore-sct")
	}
	return args
}

// with replaces the value of a flag.
func with(args []string, name, value string) []string {
	args = slices.Clone(args)
	args[slices.Index(args, name)+1] = value
	return args
}

func TestCosignVerifies(t *testing.T) {
	for name, o := range map[string]sigstoretest.Options{"public good": {}, "github": {GitHub: true}} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, o)
			artifact := filepath.Join(j.dir, artifactName)
			for name, cosign := range cosigns(t) {
				t.Run(name, func(t *testing.T) { j.tryCosign(t, cosign, artifact) })
			}
			if strays := j.Strays(); len(strays) > 0 {
				t.Errorf("somebody asked for %q", strays)
			}
		})
	}
}

func (j *job) tryCosign(t *testing.T, cosign, artifact string) {
	for _, kind := range kinds {
		for _, s := range j.subjects {
			if _, err := j.run(t, cosign, append(j.args(kind), filepath.Join(j.dir, s.Name))...); err != nil {
				t.Errorf("%s of %s: %v", kind, s.Name, err)
			}
		}
		// As it has to be done with files of more than 128 MiB.
		if _, err := j.run(t, cosign, append(j.args(kind), "--digest", sha256Of(j.artifact(t)), "--digestAlg", "sha256")...); err != nil {
			t.Errorf("%s by digest: %v", kind, err)
		}
	}
	good := append(j.args("provenance"), artifact)
	bundle, err := os.ReadFile(j.bundles["provenance"])
	check(t, err)
	for what, args := range map[string][]string{
		"another file":     append(j.args("provenance"), j.TrustedRoot),
		"another digest":   append(j.args("provenance"), "--digest", sha256Of([]byte("other")), "--digestAlg", "sha256"),
		"another workflow": with(good, "--certificate-identity", strings.Replace(j.Claims().SAN(), "release.yml", "other.yml", 1)),
		"another issuer":   with(good, "--certificate-oidc-issuer", "https://gitlab.com"),
		"another type":     with(good, "--type", types["sbom"]),
		"another payload":  with(good, "--bundle", j.write(t, "payload.json", flip(t, bundle, "payload"))),
		"another sig":      with(good, "--bundle", j.write(t, "sig.json", flip(t, bundle, "sig"))),
		"another root":     with(good, "--trusted-root", filepath.Join(goldenDir, "github", "trusted_root.json")),
	} {
		if what == "another root" {
			root, err := filepath.Abs(args[slices.Index(args, "--trusted-root")+1])
			check(t, err)
			args = with(args, "--trusted-root", root)
		}
		if _, err := j.run(t, cosign, args...); err == nil {
			t.Errorf("%s verifies too", what)
		} else if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// flip changes a byte of the payload or the signature of a bundle's envelope.
func flip(t *testing.T, bundle []byte, what string) []byte {
	t.Helper()
	var b map[string]any
	check(t, json.Unmarshal(bundle, &b))
	envelope := b["dsseEnvelope"].(map[string]any)
	at := envelope
	if what == "sig" {
		at = envelope["signatures"].([]any)[0].(map[string]any)
	}
	text := []byte(at[what].(string))
	if text[20] == 'A' {
		text[20] = 'B'
	} else {
		text[20] = 'A'
	}
	at[what] = string(text)
	out, err := json.Marshal(b)
	check(t, err)
	return out
}

// TestSigstoreJSVerifies asks Sigstore's verifier for JavaScript, which shares no code
// with the others.
func TestSigstoreJSVerifies(t *testing.T) {
	script := testneed.Node(t, "verify.mjs", "@sigstore/verify")
	for name, o := range map[string]sigstoretest.Options{"public good": {}, "github": {GitHub: true}} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t, o)
			node, err := testneed.Look("node")
			check(t, err)
			verify := func(bundle, issuer, san string) (string, error) {
				return j.run(t, node, script, j.TrustedRoot, bundle, issuer, san)
			}
			for _, kind := range kinds {
				payload, err := verify(j.bundles[kind], sigstoretest.Issuer, j.Claims().SAN())
				check(t, err)
				if payload != string(j.statements[kind]) {
					t.Errorf("%s: read %s, want %s", kind, payload, j.statements[kind])
				}
			}
			bundle, err := os.ReadFile(j.bundles["provenance"])
			check(t, err)
			for what, call := range map[string][3]string{
				"another identity": {j.bundles["provenance"], sigstoretest.Issuer, j.Claims().SAN() + "x"},
				"another issuer":   {j.bundles["provenance"], "https://gitlab.com", j.Claims().SAN()},
				"another payload":  {j.write(t, "payload.json", flip(t, bundle, "payload")), sigstoretest.Issuer, j.Claims().SAN()},
				"another sig":      {j.write(t, "sig.json", flip(t, bundle, "sig")), sigstoretest.Issuer, j.Claims().SAN()},
			} {
				if _, err := verify(call[0], call[1], call[2]); err == nil {
					t.Errorf("%s verifies too", what)
				}
			}
		})
	}
}

// TestCosignKeys has each cosign make a key, fledge sign with it, and both verify.
func TestCosignKeys(t *testing.T) {
	s := sigstoretest.Start(t, sigstoretest.Options{})
	all := cosigns(t)
	for maker, cosign := range all {
		t.Run("key of "+maker, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := runIn(t, s, dir, cosign, "generate-key-pair"); err != nil {
				t.Fatal(err)
			}
			private, err := os.ReadFile(filepath.Join(dir, "cosign.key"))
			check(t, err)
			if _, err := sign.Key(private, []byte("wrong"), nil, sign.Options{}); err == nil {
				t.Error("another password opens the key too")
			}
			alone, err := sign.Key(private, []byte(password), nil, sign.Options{})
			check(t, err)
			logged, err := sign.Key(private, []byte(password), rootOf(t, s), sign.Options{})
			check(t, err)
			for name, signer := range map[string]sign.Signer{"alone": alone, "with log and timestamp": logged} {
				t.Run(name, func(t *testing.T) {
					j := &job{s, nil, false, map[string]string{}}
					var bundles map[string][]byte
					j.release, bundles = signed(t, s, t.TempDir(), signer)
					for kind, bundle := range bundles {
						j.bundles[kind] = j.write(t, kind+".sigstore.json", bundle)
					}
					for name, cosign := range all {
						t.Run(name, func(t *testing.T) { j.tryKey(t, cosign, filepath.Join(dir, "cosign.pub"), signer == logged) })
					}
				})
			}
		})
	}
	if strays := s.Strays(); len(strays) > 0 {
		t.Errorf("somebody asked for %q", strays)
	}
}

func (j *job) tryKey(t *testing.T, cosign, public string, logged bool) {
	// v2 wants a trusted root even if it has nothing to look up in it.
	root := j.write(t, "none.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
	how := []string{"--trusted-root", root, "--insecure-ignore-tlog"}
	if logged {
		how = []string{"--trusted-root", j.TrustedRoot, "--use-signed-timestamps"}
	}
	args := func(kind, key, file string) []string {
		return append([]string{"verify-blob-attestation", "--bundle", j.bundles[kind], "--key", key, "--type", types[kind], file}, how...)
	}
	artifact := filepath.Join(j.dir, artifactName)
	for _, kind := range kinds {
		if _, err := j.run(t, cosign, args(kind, public, artifact)...); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	other, err := filepath.Abs(filepath.Join(goldenDir, "key", "cosign.pub"))
	check(t, err)
	for what, args := range map[string][]string{
		"another key":  args("build", other, artifact),
		"another file": args("build", public, public),
	} {
		if _, err := j.run(t, cosign, args...); err == nil {
			t.Errorf("%s verifies too", what)
		}
	}
}
