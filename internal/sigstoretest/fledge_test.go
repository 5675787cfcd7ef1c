package sigstoretest_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/volant/fledge-action/attest/sign"
	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ghrelease"
	"github.com/volant/fledge-action/internal/ghtest"
	"github.com/volant/fledge-action/internal/sigstoretest"
)

// These tests run the command as a job of GitHub Actions does, from fledge.toml to a
// verdict. What it may ask is the stack and nothing else.

// A workshop is a project in a job.
type workshop struct {
	*sigstoretest.Stack
	fledge string
	dir    string
}

const fledgeTOML = `version = "1"
strategy = "initramfs"
[plugin]
name = "web"
version = "1.0.0"
[source]
busybox = false
[agent]
source_strategy = "local"
path = "kestrel"
[mappings]
"web" = "/usr/bin/web"
[workload]
entrypoint = ["/usr/bin/web"]
base_url = "http://127.0.0.1:80"
`

// everything is what a signed build leaves, in the order of their names.
const everything = "SHA256SUMS manifest.json web.build.json web.cpio.gz web.intoto.jsonl web.sigstore.json web.spdx.json"

// unsignedFiles is the same without signatures.
const unsignedFiles = "SHA256SUMS manifest.json web.build.json web.cpio.gz web.spdx.json"

func newWorkshop(t *testing.T, o sigstoretest.Options) *workshop {
	t.Helper()
	w := &workshop{Stack: sigstoretest.Start(t, o), fledge: filepath.Join(t.TempDir(), "fledge"), dir: t.TempDir()}
	out, err := exec.Command("go", "build", "-o", w.fledge, "github.com/volant/fledge-action/cmd/fledge").CombinedOutput()
	if err != nil {
		t.Fatalf("building fledge: %v: %s", err, out)
	}
	program := elftest.Make(elftest.Spec{})
	for name, data := range map[string][]byte{"fledge.toml": []byte(fledgeTOML), "kestrel": program, "web": program} {
		check(t, os.WriteFile(filepath.Join(w.dir, name), data, 0o755))
	}
	check(t, os.Mkdir(filepath.Join(w.dir, "out"), 0o755))
	return w
}

// command is fledge in the job. The instance is the stack.
func (w *workshop) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), w.fledge, args...)
	cmd.Dir = w.dir
	cmd.Env = append(w.Env(), "HOME="+t.TempDir(), "GITHUB_ACTIONS=true", "GITHUB_SERVER_URL=https://github.com")
	return cmd
}

// run returns the exit code, and what was said on standard error.
func (w *workshop) run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	cmd := w.command(t, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.Discard, &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if text := said.String(); strings.Contains(text, w.TokenBearer()) || strings.Contains(text, "eyJ") {
		t.Errorf("fledge %q shows a secret: %s", args, text)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// want fails the test unless fledge exits so and says so.
func (w *workshop) want(t *testing.T, code int, says string, args ...string) {
	t.Helper()
	if got, said := w.run(t, args...); got != code || !strings.Contains(said, says) {
		t.Errorf("fledge %s: exit code %d and %q; want %d and %q", strings.Join(args, " "), got, said, code, says)
	}
}

func (w *workshop) build(more ...string) []string {
	return append([]string{"build", "-o", "out/web.cpio.gz", "--trusted-root", w.TrustedRoot, "--signing-config", w.SigningConfig}, more...)
}

func (w *workshop) attest(more ...string) []string {
	return append([]string{"attest", "out/web.cpio.gz", "--trusted-root", w.TrustedRoot, "--signing-config", w.SigningConfig}, more...)
}

func (w *workshop) verify(target string, more ...string) []string {
	return append([]string{"verify", target, "--offline", "--trusted-root", w.TrustedRoot}, more...)
}

func (w *workshop) out(t *testing.T) string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.dir, "out"))
	check(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFledgeBuildsSignsAndVerifies(t *testing.T) {
	for name, o := range map[string]sigstoretest.Options{"public good": {}, "github": {GitHub: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorkshop(t, o)
			w.want(t, 0, "signing as", w.build("--attest", "required")...)
			if got := w.out(t); got != everything {
				t.Fatalf("the build left %s", got)
			}
			if got := w.Audiences(); !slices.Equal(got, []string{"nobody", "sigstore"}) {
				t.Errorf("tokens were asked for %q, want one for nobody and one certificate for all statements", got)
			}
			repo := w.Claims().Repository
			for _, target := range []string{"out/web.cpio.gz", "out/manifest.json", "out/SHA256SUMS"} {
				w.want(t, 0, "", w.verify(target, "--repo", repo)...)
			}
			w.want(t, 0, "", "verify", "out/web.cpio.gz", "--trusted-root", w.TrustedRoot, "--repo", repo, "--rebuild", ".")
			w.want(t, 1, "expected repository", w.verify("out/web.cpio.gz", "--repo", "mallory/plugin")...)
			w.want(t, 1, "", w.verify("out/web.cpio.gz", "--signer-workflow", repo+"/.github/workflows/other.yml")...)
			w.want(t, 1, "", w.verify("out/web.cpio.gz", "--repo", repo, "--cert-oidc-issuer", "https://issuer.example")...)
			w.want(t, 2, "say whose signature you accept", w.verify("out/web.cpio.gz")...)
			w.others(t, o.GitHub)
			if strays := w.Strays(); len(strays) > 0 {
				t.Errorf("somebody asked for %q", strays)
			}
		})
	}
}

// others gives the files to both cosigns.
func (w *workshop) others(t *testing.T, github bool) {
	t.Helper()
	out := filepath.Join(w.dir, "out")
	args := []string{
		"verify-blob-attestation", "--bundle", filepath.Join(out, "web.sigstore.json"), "--trusted-root", w.TrustedRoot,
		"--certificate-identity", w.Claims().SAN(), "--certificate-oidc-issuer", sigstoretest.Issuer, "--type", types["provenance"], "--use-signed-timestamps",
	}
	if github {
		args = append(args, "--insecure-ignore-tlog", "--insecure-ignore-sct")
	}
	for name, cosign := range cosigns(t) {
		for file := range strings.FieldsSeq("SHA256SUMS manifest.json web.build.json web.cpio.gz web.spdx.json") {
			if _, err := runIn(t, w.Stack, t.TempDir(), cosign, append(slices.Clone(args), filepath.Join(out, file))...); err != nil {
				t.Errorf("%s does not verify %s: %v", name, file, err)
			}
		}
		if _, err := runIn(t, w.Stack, t.TempDir(), cosign, append(slices.Clone(args), filepath.Join(w.dir, "fledge.toml"))...); err == nil {
			t.Errorf("%s verifies a file that was not signed", name)
		}
	}
}

// TestFledgeKeepsWhatWasBuiltWhenTheLogIsDown: it is signed later, from the same files.
func TestFledgeKeepsWhatWasBuiltWhenTheLogIsDown(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	w.Rekor.Kill()
	w.want(t, 1, "fledge attest", w.build("--attest-timeout", "3s")...)
	if got := w.out(t); got != unsignedFiles {
		t.Fatalf("the build left %s", got)
	}
	w.want(t, 3, "", w.verify("out/web.cpio.gz", "--repo", w.Claims().Repository)...)
	before, err := os.ReadFile(filepath.Join(w.dir, "out", "SHA256SUMS"))
	check(t, err)
	w.Rekor.Restart()
	w.want(t, 0, "", w.attest()...)
	if got := w.out(t); got != everything {
		t.Errorf("attest left %s", got)
	}
	after, err := os.ReadFile(filepath.Join(w.dir, "out", "SHA256SUMS"))
	check(t, err)
	if !bytes.Equal(before, after) {
		t.Error("SHA256SUMS changed")
	}
	w.want(t, 0, "", w.verify("out/web.cpio.gz", "--repo", w.Claims().Repository)...)
}

// TestFledgeWithoutAnIdentity: nothing is built when a signature is required, and
// nothing is ever signed with a key of the moment.
func TestFledgeWithoutAnIdentity(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	size := w.LogSize()
	for name, fault := range map[string]sigstoretest.Fault{
		"401": {Status: 401, Body: `{"message": "no"}`}, "empty": {Status: 200, Body: `{}`}, "HTML": sigstoretest.HTML(200), "500": {Status: 500},
	} {
		w.Tokens.Fail(fault)
		w.want(t, 1, "nothing was built", w.build("--attest-timeout", "2s")...)
		if got := w.out(t); got != "" {
			t.Errorf("%s: the build left %s", name, got)
		}
	}
	time.Sleep(time.Second) // several checkpoints
	if got := w.LogSize(); got != size {
		t.Errorf("the log grew from %d to %d entries", size, got)
	}
	if n := len(w.Fulcio.Requests()); n > 0 {
		t.Errorf("%d certificates were asked for", n)
	}
}

func TestFledgeInAForkIsGreenAndUnsigned(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	cmd := w.command(t, w.build()...)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "ACTIONS_ID_TOKEN_") })
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "notice: unsigned: no OIDC token: the job needs `permissions: id-token: write` (pull requests from forks never get one)") {
		t.Errorf("%v: %s", err, out)
	}
	if got := w.out(t); got != "manifest.json web.cpio.gz" {
		t.Errorf("the build left %s", got)
	}
}

// TestFledgeInterruptedWhileItWaits: a service hangs, and the user has enough.
func TestFledgeInterruptedWhileItWaits(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	w.TSA.Fail(sigstoretest.Fault{Hang: true})
	cmd := w.command(t, w.build()...)
	var said bytes.Buffer
	cmd.Stderr = &said
	check(t, cmd.Start())
	for deadline := time.Now().Add(time.Minute); len(w.TSA.Requests())+len(w.Rekor.Requests()) == 0; {
		if time.Sleep(10 * time.Millisecond); time.Now().After(deadline) {
			t.Fatalf("nobody was asked: %s", said.String())
		}
	}
	check(t, cmd.Process.Signal(syscall.SIGINT))
	err := cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 || !strings.Contains(said.String(), "interrupted; web.cpio.gz and the files beside it are built and unsigned") {
		t.Errorf("exit code %d (%v): %s", got, err, said.String())
	}
	if got := w.out(t); got != unsignedFiles {
		t.Errorf("it left %s", got)
	}
}

// TestFledgeRefusesAnAgentOfAnotherSigstore: an attestation of the agent that no
// trusted root of fledge's knows ends the build, and one about another file does not.
func TestFledgeRefusesAnAgentOfAnotherSigstore(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	agent, err := os.ReadFile(filepath.Join(w.dir, "kestrel"))
	check(t, err)
	claims, err := source(w.Stack).Claims(t.Context())
	check(t, err)
	signer := keyless(t, w.Stack, sign.Options{})
	about := func(name string, data []byte) []byte {
		st, err := statement.Provenance(claims, []statement.Subject{{Name: name, Digest: map[string]string{"sha256": sha256Of(data)}}})
		check(t, err)
		payload, err := st.Encode()
		check(t, err)
		bundle, err := signer.Sign(t.Context(), payload)
		check(t, err)
		return bundle
	}
	for _, tt := range []struct {
		bundle []byte
		code   int
		says   string
	}{
		{about("kestrel", agent), 1, `verifying the attestation of kestrel of release "v1"`},
		{about("bzImage", []byte("kernel")), 0, ""},
	} {
		api := ghtest.New(t, "volantvm/volant")
		api.Add(ghtest.Release{Tag: "v1", Assets: []ghtest.Asset{
			{Name: "kestrel", Content: agent},
			{Name: "checksums.txt", Content: []byte(sha256Of(agent) + "  kestrel\n")},
			{Name: "volant.sigstore.json", Content: tt.bundle},
		}})
		toml := strings.Replace(fledgeTOML, "source_strategy = \"local\"\npath = \"kestrel\"", "base_url = \""+api.URL+"\"", 1)
		check(t, os.WriteFile(filepath.Join(w.dir, "fledge.toml"), []byte(toml), 0o644))
		w.want(t, tt.code, tt.says, "build", "-o", "out/web.cpio.gz", "--attest", "off")
	}
}

// TestFledgeHasGitHubKeepAttestations, and finds them there when the bundles are lost.
func TestFledgeHasGitHubKeepAttestations(t *testing.T) {
	w := newWorkshop(t, sigstoretest.Options{})
	repo := w.Claims().Repository
	api := ghrelease.New(repo)
	api.Token, api.Contract = "job-token", ghrelease.TheContract(t)
	api.Start(t)
	run := func(code int, says string, args ...string) {
		t.Helper()
		cmd := w.command(t, args...)
		cmd.Env = append(cmd.Env, "GITHUB_API_URL="+api.API, "GITHUB_REPOSITORY="+repo, "GITHUB_TOKEN=job-token")
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || !strings.Contains(string(out), says) {
			t.Errorf("fledge %s: exit code %d and %q; want %d and %q", strings.Join(args, " "), got, out, code, says)
		}
	}
	run(0, "notice: attestations are not kept at GitHub: it does not know the Sigstore of --trusted-root", w.build("--github-attestations", "auto")...)
	if n := len(api.Attestations()); n != 0 {
		t.Errorf("%d attestations are kept", n)
	}
	api.SetRefusal(404)
	run(1, "0 of 3 attestations kept at GitHub: go on with 'fledge attest --sign none", w.build("--github-attestations", "required")...)
	if got := w.out(t); got != everything {
		t.Errorf("the build left %s", got)
	}
	api.SetRefusal(0)
	size := w.LogSize()
	run(0, "https://github.com/"+repo+"/attestations/3\n", "attest", "--sign", "none", "--github-attestations", "required", "out/web.cpio.gz")
	if n := len(api.Attestations()); n != 3 || w.LogSize() != size {
		t.Errorf("%d attestations are kept, and the log has %d entries, before %d", n, w.LogSize(), size)
	}
	for _, name := range []string{"web.sigstore.json", "web.intoto.jsonl"} {
		check(t, os.Remove(filepath.Join(w.dir, "out", name)))
	}
	for _, target := range []string{"out/web.cpio.gz", "out/manifest.json"} {
		run(0, "3 of "+repo, "verify", target, "--trusted-root", w.TrustedRoot, "--repo", repo, "--base-url", api.API)
	}
	run(1, "not verified", "verify", "out/web.cpio.gz", "--trusted-root", w.TrustedRoot, "--repo", repo, "--cert-oidc-issuer", "https://issuer.example", "--base-url", api.API)
	for _, v := range api.Violations() {
		t.Errorf("against GitHub's contract: %s", v)
	}
	if strays := w.Strays(); len(strays) > 0 {
		t.Errorf("somebody asked for %q", strays)
	}
}
