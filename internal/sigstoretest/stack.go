package sigstoretest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Options say which Sigstore to start. The zero value is the public-good shape.
type Options struct {
	// GitHub gives the shape of GitHub's instance: Fulcio without certificate
	// transparency, timestamps, no log.
	GitHub bool
}

// A Stack is a running Sigstore. It ends with the test.
type Stack struct {
	Fulcio *Service
	Rekor  *Service // nil in GitHub's shape
	TSA    *Service
	CT     *Proxy // certificate transparency; nil in GitHub's shape
	Tokens *Proxy // the runner's token endpoint
	Keys   *Proxy // the issuer's discovery and keys, under Issuer's name

	// TrustedRoot and SigningConfig are paths. The configuration's URLs are those of
	// the proxies.
	TrustedRoot, SigningConfig string

	t      testing.TB
	dir    string
	issuer *issuer
	front  *front
}

// keys are all that sign.
type keys struct {
	fulcio, tsa *ca
	rekor       ed25519.PrivateKey
	ct          ctLog
}

func newKeys(organization string) (*keys, error) {
	fulcio, err := newCA(organization)
	if err != nil {
		return nil, err
	}
	tsa, err := newTSA(organization)
	if err != nil {
		return nil, err
	}
	_, rekor, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	ctKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &keys{fulcio, tsa, rekor, ctLog{ctKey}}, err
}

// Start starts a Sigstore, or skips the test aloud when its programs are not built.
func Start(t testing.TB, o Options) *Stack {
	t.Helper()
	programs := map[string]string{}
	for _, name := range []string{"fulcio", "rekor-server", "timestamp-server"} {
		programs[name] = Program(t, name)
	}
	s := &Stack{t: t, dir: t.TempDir()}
	// Another process may take a port between its choice and its use.
	for try := 1; ; try++ {
		err := s.start(programs, o)
		if err == nil {
			return s
		}
		if try == 3 {
			t.Fatalf("starting Sigstore: %v", err)
		}
		t.Logf("starting Sigstore, attempt %d: %v", try, err)
		s.stop()
	}
}

func (s *Stack) start(programs map[string]string, o Options) error {
	s.t.Cleanup(s.stop)
	// The organization is how gh tells GitHub's certificates from others.
	organization := "sigstore.dev"
	if o.GitHub {
		organization = "GitHub, Inc."
	}
	k, err := newKeys(organization)
	if err != nil {
		return err
	}
	if err := s.startIssuer(); err != nil {
		return err
	}
	if !o.GitHub {
		if s.CT, err = newProxy(k.ct); err != nil {
			return err
		}
	}
	if err := s.writeKeys(k); err != nil {
		return err
	}
	if err := s.startFulcio(programs["fulcio"]); err != nil {
		return err
	}
	if err := s.startTSA(programs["timestamp-server"]); err != nil {
		return err
	}
	if !o.GitHub {
		if err := s.startRekor(programs["rekor-server"]); err != nil {
			return err
		}
	}
	return s.writeConfig(k, o)
}

// stop ends what start started, as far as it came.
func (s *Stack) stop() {
	for _, service := range []*Service{s.Rekor, s.TSA, s.Fulcio} {
		if service == nil {
			continue
		}
		service.Down()
		service.Kill()
		if said := service.said(); s.t.Failed() && said != "" {
			s.t.Logf("what %s said:\n%s", service.name, said)
		}
	}
	for _, p := range []*Proxy{s.CT, s.Tokens, s.Keys} {
		if p != nil {
			p.Down()
		}
	}
	if s.front != nil {
		s.front.close()
	}
	s.Fulcio, s.Rekor, s.TSA, s.CT, s.Tokens, s.Keys, s.front = nil, nil, nil, nil, nil, nil, nil
}

func (s *Stack) startIssuer() (err error) {
	if s.issuer, err = newIssuer(); err != nil {
		return err
	}
	if s.Tokens, err = newProxy(http.HandlerFunc(s.issuer.serveToken)); err != nil {
		return err
	}
	if s.Keys, err = newProxy(s.issuer); err != nil {
		return err
	}
	if s.front, err = newFront(); err != nil {
		return err
	}
	return s.front.handle(strings.TrimPrefix(Issuer, "https://"), s.Keys)
}

func (s *Stack) writeKeys(k *keys) error {
	files := map[string][]byte{
		"fulcio.crt": k.fulcio.certPEM(),
		"tsa.crt":    k.tsa.certPEM(),
		"hosts.crt":  s.front.ca.certPEM(),
	}
	for name, key := range map[string]any{"fulcio.key": k.fulcio.key, "tsa.key": k.tsa.key, "rekor.key": k.rekor} {
		text, err := keyPEM(key)
		if err != nil {
			return err
		}
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(s.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stack) path(name string) string { return filepath.Join(s.dir, name) }

// run starts a program and puts a proxy before its first port.
func (s *Stack) run(into **Service, name, port, health string, argv ...string) error {
	service := &Service{t: s.t, name: name, argv: argv, address: "127.0.0.1:" + port, health: health, env: append(s.netEnv(), "HOME="+s.dir)}
	proxy, err := newProxy(to(service.address))
	if err != nil {
		return err
	}
	service.Proxy = proxy
	*into = service // stop ends it, whatever comes
	return service.start()
}

func (s *Stack) startFulcio(program string) error {
	if err := os.WriteFile(s.path("fulcio.yaml"), []byte(fulcioConfig()), 0o600); err != nil {
		return err
	}
	port, err := ports(3)
	if err != nil {
		return err
	}
	ct := ""
	if s.CT != nil {
		ct = s.CT.URL()
	}
	return s.run(&s.Fulcio, "fulcio", port[0], "/healthz", program, "serve",
		"--config-path", s.path("fulcio.yaml"), "--ct-log-url="+ct,
		"--ca", "fileca", "--fileca-cert", s.path("fulcio.crt"), "--fileca-key", s.path("fulcio.key"),
		"--fileca-key-passwd=", "--fileca-watch=false",
		"--host", "127.0.0.1", "--port", port[0], "--grpc-host", "127.0.0.1", "--grpc-port", port[1],
		"--metrics-port", port[2], "--legacy-unix-domain-socket", "@fulcio-"+rand.Text())
}

func (s *Stack) startTSA(program string) error {
	port, err := ports(1)
	if err != nil {
		return err
	}
	return s.run(&s.TSA, "timestamp-server", port[0], "/ping", program, port[0], s.path("tsa.key"), s.path("tsa.crt"))
}

func (s *Stack) startRekor(program string) error {
	port, err := ports(3)
	if err != nil {
		return err
	}
	return s.run(&s.Rekor, "rekor-server", port[0], "/healthz", program, "serve",
		"--hostname", logName, "--signer-filepath", s.path("rekor.key"), "--storage-dir", s.path("log"),
		"--http-address", "127.0.0.1", "--http-port", port[0], "--grpc-address", "127.0.0.1", "--grpc-port", port[1],
		"--http-metrics-port", port[2], "--checkpoint-interval", "200ms", "--batch-max-age", "50ms")
}

func (s *Stack) writeConfig(k *keys, o Options) error {
	root, err := k.trustedRoot(o.GitHub)
	if err != nil {
		return err
	}
	rekor := ""
	if s.Rekor != nil {
		rekor = s.Rekor.URL()
	}
	start := k.fulcio.chain[0].NotBefore
	config, err := signingConfig(start, s.Fulcio.URL(), rekor, s.TSA.URL()+"/api/v1/timestamp", Issuer)
	if err != nil {
		return err
	}
	s.TrustedRoot, s.SigningConfig = s.path("trusted_root.json"), s.path("signing_config.json")
	if err := os.WriteFile(s.TrustedRoot, root, 0o644); err != nil {
		return err
	}
	return os.WriteFile(s.SigningConfig, config, 0o644)
}

// fulcioConfig is Fulcio's own configuration of GitHub's issuer.
func fulcioConfig() string {
	return `oidc-issuers:
  ` + Issuer + `:
    issuer-url: ` + Issuer + `
    client-id: sigstore
    type: ci-provider
    ci-provider: github-workflow
ci-issuer-metadata:
  github-workflow:
    default-template-values:
      url: "https://github.com"
      environment: ""
    extension-templates:
      github-workflow-trigger: event_name
      github-workflow-sha: sha
      github-workflow-name: workflow
      github-workflow-repository: repository
      github-workflow-ref: ref
      build-signer-uri: "{{ .url }}/{{ .job_workflow_ref }}"
      build-signer-digest: job_workflow_sha
      runner-environment: runner_environment
      source-repository-uri: "{{ .url }}/{{ .repository }}"
      source-repository-digest: sha
      source-repository-ref: ref
      source-repository-identifier: repository_id
      source-repository-owner-uri: "{{ .url }}/{{ .repository_owner }}"
      source-repository-owner-identifier: repository_owner_id
      build-config-uri: "{{ .url }}/{{ .workflow_ref }}"
      build-config-digest: workflow_sha
      build-trigger: event_name
      run-invocation-uri: "{{ .url }}/{{ .repository }}/actions/runs/{{ .run_id }}/attempts/{{ .run_attempt }}"
      source-repository-visibility-at-signing: repository_visibility
      deployment-environment: environment
    subject-alternative-name-template: "{{ .url }}/{{ .job_workflow_ref }}"
`
}

// SetClaims changes what the tokens from now on say.
func (s *Stack) SetClaims(c Claims) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.claims = c
}

// Claims are what the tokens of now say.
func (s *Stack) Claims() Claims {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return s.issuer.claims
}

// Token is a token for an audience, made without the token endpoint.
func (s *Stack) Token(audience string) string {
	s.t.Helper()
	token, err := s.issuer.token(audience)
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// TokenURL and TokenBearer are what a runner has in ACTIONS_ID_TOKEN_REQUEST_URL and
// ACTIONS_ID_TOKEN_REQUEST_TOKEN.
func (s *Stack) TokenURL() string { return s.Tokens.URL() + "/idtoken?api-version=2.0" }

// TokenBearer is the secret of TokenURL.
func (s *Stack) TokenBearer() string { return s.issuer.bearer }

// Audiences are those of the tokens that were given out so far.
func (s *Stack) Audiences() []string {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	return append([]string(nil), s.issuer.issued...)
}

// Handle makes a host of the given name answer on port 443 for every program with
// the environment Env, and for Client.
func (s *Stack) Handle(host string, h http.Handler) {
	s.t.Helper()
	if err := s.front.handle(host, h); err != nil {
		s.t.Fatal(err)
	}
}

// Strays are the hosts that somebody wanted to reach and that are not there.
func (s *Stack) Strays() []string { return s.front.strayed() }

// netEnv keeps a program in this machine.
func (s *Stack) netEnv() []string {
	return []string{"HTTPS_PROXY=" + s.front.url, "HTTP_PROXY=" + s.front.url, "SSL_CERT_FILE=" + s.path("hosts.crt"), "SSL_CERT_DIR=" + s.path("none")}
}

// Env is the environment of a program in a workflow's job that may ask for tokens.
// It reaches nothing but this stack: loopback addresses directly, other hosts as
// Handle says.
func (s *Stack) Env() []string {
	return append(s.netEnv(), "ACTIONS_ID_TOKEN_REQUEST_URL="+s.TokenURL(), "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+s.TokenBearer())
}

// Client reaches what a program with Env reaches.
func (s *Stack) Client() *http.Client {
	proxy, err := url.Parse(s.front.url)
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.front.ca.chain[0])
	transport := &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Hostname() == "127.0.0.1" {
				return nil, nil
			}
			return proxy, nil
		},
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// LogSize is the number of the log's entries, by its latest checkpoint. An entry is
// in it at the latest 300 ms after it was sent. It is to be had also while the log
// is down.
func (s *Stack) LogSize() uint64 {
	s.t.Helper()
	text, err := os.ReadFile(s.path("log/checkpoint"))
	if err != nil {
		s.t.Fatalf("reading the checkpoint: %v", err)
	}
	size, err := checkpointSize(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return size
}

// checkpointSize reads the second line of a checkpoint:
// https://github.com/C2SP/C2SP/blob/main/tlog-checkpoint.md.
func checkpointSize(text []byte) (uint64, error) {
	lines := bytes.SplitN(text, []byte("\n"), 3)
	if len(lines) < 3 || string(lines[0]) != logName {
		return 0, fmt.Errorf("not a checkpoint of %s: %q", logName, text)
	}
	return strconv.ParseUint(string(lines[1]), 10, 64)
}
