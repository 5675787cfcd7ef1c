package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/volant/fledge-action/build/guest"
	"github.com/volant/fledge-action/internal/ocitest"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/manifest"
)

// The documented examples are built as they stand, with the names of the real
// registry and the real API in them. An HTTPS proxy on loopback answers for both.

// dockerNginx looks like nginx:alpine of Docker Hub: an index with an attestation
// beside the image, a script that starts the program, EXPOSE and a long PATH.
func dockerNginx(t testing.TB) *ocitest.Image {
	im := ocitest.Build(t, ocitest.Spec{
		Created: time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC),
		Config: v1.Config{
			Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx", "-g", "daemon off;"}, WorkingDir: "/",
			Env: []string{
				"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
				"NGINX_VERSION=1.29.3", "PKG_RELEASE=1", "DYNPKG_RELEASE=1", "NJS_VERSION=0.9.4", "NJS_RELEASE=1",
			},
			ExposedPorts: map[string]struct{}{"80/tcp": {}}, StopSignal: "SIGQUIT",
			Labels: map[string]string{"maintainer": "nobody"},
		},
		Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
			{Header: tar.Header{Name: "docker-entrypoint.sh", Mode: 0o775}, Body: "#!/bin/sh\nexec \"$@\"\n"},
			{Header: tar.Header{Name: "bin/busybox", Mode: 0o755}, Body: string(executable())},
			{Header: tar.Header{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "/bin/busybox"}},
			{Header: tar.Header{Name: "usr/sbin/nginx", Mode: 0o755}, Body: string(executable())},
			ocitest.File("etc/nginx/nginx.conf", "events {}\n"),
			ocitest.File("usr/share/nginx/html/index.html", "welcome\n"),
		}}},
	})
	attestation := ocitest.Build(t, ocitest.Spec{Platform: "unknown/unknown"})
	return ocitest.Index(t, nil, attestation, im)
}

// release answers like GitHub's API for the latest release of the agent, which is
// the given bytes.
func release(agent []byte) http.Handler {
	sums := fmt.Sprintf("%x  kestrel\n", sha256.Sum256(agent))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/volantvm/volant/releases/latest", func(w http.ResponseWriter, _ *http.Request) {
		asset := func(id int, name string, size int) map[string]any {
			return map[string]any{"id": id, "name": name, "state": "uploaded", "size": size, "browser_download_url": "https://github.com/" + name}
		}
		json.NewEncoder(w).Encode(map[string]any{
			"tag_name": "v0.6.5", "assets": []any{asset(1, "kestrel", len(agent)), asset(2, "checksums.txt", len(sums))},
		})
	})
	mux.HandleFunc("GET /repos/volantvm/volant/releases/assets/{id}", func(w http.ResponseWriter, r *http.Request) {
		body := string(agent)
		if r.PathValue("id") == "2" {
			body = sums
		}
		io.WriteString(w, body)
	})
	return mux
}

// internet makes an HTTPS proxy on loopback that is every host of the map, and returns
// the environment in which a program believes it.
func internet(t testing.TB, hosts map[string]http.Handler) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for host := range hosts {
		cert.DNSNames = append(cert.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := hosts[r.Host]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	inside.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	inside.Config.ErrorLog = log.New(io.Discard, "", 0)
	inside.StartTLS()
	t.Cleanup(inside.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if r.Method != http.MethodConnect || hosts[host] == nil {
			http.Error(w, "the test knows no "+r.Host, http.StatusBadGateway)
			return
		}
		there, err := net.Dial("tcp", inside.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
	}))
	t.Cleanup(proxy.Close)
	return []string{"HTTPS_PROXY=" + proxy.URL, "SSL_CERT_FILE=" + ca, "SSL_CERT_DIR=" + t.TempDir()}
}

func TestTheDocumentedExamplesBuildUnedited(t *testing.T) {
	registry := ocitest.NewRegistry(t)
	registry.Push(t, "library/nginx:alpine", dockerNginx(t))
	env := internet(t, map[string]http.Handler{"index.docker.io": registry, "api.github.com": release(executable())})

	for _, example := range []string{"quickstart_oci", "minimal_oci", "pattern_web"} {
		t.Run(example, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{
				"fledge.toml": documented(t, example), "configs/nginx.conf": "events { }\n", "html/index.html": "hello\n",
			})
			cmd := command(t, dir, "build")
			cmd.Env = append(cmd.Env, env...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			if want := filepath.Join(dir, "nginx.img") + "\n" + filepath.Join(dir, "manifest.json") + "\n"; string(stdout) != want {
				t.Errorf("stdout %q, want %q", stdout, want)
			}
			if strings.Contains(stderr.String(), "warning") {
				t.Errorf("warnings for a documented example:\n%s", &stderr)
			}
			f, err := os.Open(filepath.Join(dir, "manifest.json"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m, err := manifest.Decode(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range m.Validate() {
				t.Errorf("manifest: %s", p)
			}
			if got := strings.Join(m.Workload.Entrypoint, " "); got != "/docker-entrypoint.sh nginx -g daemon off;" {
				t.Errorf("entrypoint %q", got)
			}
			if m.Name != "nginx" || m.Workload.BaseURL != "http://127.0.0.1:80" || m.Rootfs.URL != filepath.Join(dir, "nginx.img") {
				t.Errorf("manifest: %+v", m)
			}
		})
	}
}

// TestTheDocumentedInitramfsExamplesBuild changes nothing of them but busybox's sum,
// since the bytes that the documented one belongs to are not at hand.
func TestTheDocumentedInitramfsExamplesBuild(t *testing.T) {
	env := internet(t, documentedHosts())
	sum := fmt.Sprintf("%x", sha256.Sum256(busybox()))
	port := "no port is known"
	for _, example := range []struct {
		name     string
		program  string
		paths    []string // in the archive
		warnings []string // every one that there may be
	}{
		{"quickstart_initramfs", "/usr/bin/myapp", []string{"usr/bin/myapp"}, []string{port}},
		{"minimal_initramfs", "/bin/busybox", nil, []string{"no entrypoint is given and no program is mapped", port}},
		{"custom_files", "/usr/bin/myapp", []string{"usr/bin/myapp", "etc/myapp/app.conf", "usr/local/bin/startup.sh"}, []string{
			"one of the mapped programs", port,
		}},
		{"pattern_api", "/usr/bin/api-server", []string{"usr/bin/api-server", "etc/api/config.json"}, []string{port}},
		{"pattern_worker", "/usr/bin/worker", []string{"usr/bin/worker", "etc/worker/.env"}, []string{`".env"`, port}},
	} {
		t.Run(example.name, func(t *testing.T) {
			toml := documented(t, example.name)
			if !strings.Contains(toml, guest.PinnedBusyboxSHA256) {
				t.Fatalf("the example does not name the pinned sum:\n%s", toml)
			}
			dir := writeFiles(t, documentedFiles(strings.ReplaceAll(toml, guest.PinnedBusyboxSHA256, sum)))
			cmd := command(t, dir, "build", "--json")
			cmd.Env = append(cmd.Env, env...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			stdout, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			var got struct {
				Artifact struct{ Path, Format string }
				Manifest struct{ Path string }
				Warnings []string
			}
			if err := json.Unmarshal(stdout, &got); err != nil {
				t.Fatal(err)
			}
			if want := filepath.Join(dir, "plugin.cpio.gz"); got.Artifact.Path != want || got.Artifact.Format != "cpio.gz" {
				t.Errorf("the artifact is %+v, want %s", got.Artifact, want)
			}
			checkWarnings(t, got.Warnings, example.warnings)
			in := archived(t, got.Artifact.Path)
			for _, name := range append(example.paths, ".", "init", "bin/kestrel", "bin/busybox", "bin/sh", "dev/console") {
				if !in[name] {
					t.Errorf("the archive has no %q", name)
				}
			}
			checkDocumentedManifest(t, got.Manifest.Path, got.Artifact.Path, example.program)
		})
	}
}

func TestTheDocumentedBusyboxSumRefusesOtherBytes(t *testing.T) {
	dir := writeFiles(t, documentedFiles(documented(t, "quickstart_initramfs")))
	cmd := command(t, dir, "build")
	cmd.Env = append(cmd.Env, internet(t, documentedHosts())...)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("a busybox of other bytes is built in:\n%s", out)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(busybox()))
	for _, want := range []string{guest.PinnedBusyboxURL, guest.PinnedBusyboxSHA256, sum, "busybox_sha256"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the message does not name %s:\n%s", want, out)
		}
	}
	for _, name := range []string{"plugin.cpio.gz", "manifest.json"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was written", name)
		}
	}
}

// documentedHosts are the hosts that the initramfs examples fetch from.
func documentedHosts() map[string]http.Handler {
	site := http.NewServeMux()
	site.HandleFunc("GET /downloads/binaries/1.35.0-x86_64-linux-musl/busybox", func(w http.ResponseWriter, _ *http.Request) { w.Write(busybox()) })
	return map[string]http.Handler{"busybox.net": site, "api.github.com": release(executable())}
}

// documentedFiles are all files that the initramfs examples map, beside a fledge.toml.
func documentedFiles(toml string) map[string]string {
	program := string(executable())
	return map[string]string{
		"fledge.toml": toml, "myapp": program, "api-server": program, "worker": program, "app/binary": program,
		"configs/app.conf": "port = 80\n", "config.json": "{}\n", ".env": "MODE=production\n", "scripts/startup.sh": "#!/bin/sh\nexec myapp\n",
	}
}

// checkWarnings fails t unless there is one warning for each text, and no other.
func checkWarnings(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d warnings, want %d: %q", len(got), len(want), got)
	}
	for _, text := range want {
		if !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, text) }) {
			t.Errorf("no warning of %s in %q", text, got)
		}
	}
}

// checkDocumentedManifest holds a manifest against Volant's rules and its published schema.
func checkDocumentedManifest(t *testing.T, path, artifact, program string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Validate() {
		t.Errorf("manifest: %s", p)
	}
	packed, err := os.ReadFile(artifact)
	if err != nil {
		t.Fatal(err)
	}
	want := manifest.Initramfs{URL: artifact, Checksum: fmt.Sprintf("sha256:%x", sha256.Sum256(packed))}
	if m.Name != "plugin" || m.Rootfs != nil || m.Initramfs == nil || *m.Initramfs != want || m.Workload.Entrypoint[0] != program {
		t.Errorf("manifest: %s", text)
	}
	schema, err := jsonschema.NewCompiler().Compile(testneed.Data(t, "volant-plugin-manifest-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("the published schema: %v", err)
	}
}

// archived is the names that an archive has, read by another program's reader.
func archived(t *testing.T, path string) map[string]bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for r := cpio.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names[h.Name] = true
	}
}

// documented is the fledge.toml of an example of the documentation.
func documented(t *testing.T, example string) string {
	t.Helper()
	text, err := os.ReadFile("../../build/config/testdata/example_" + example + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, toml, _ := strings.Cut(string(text), "-- fledge.toml --\n")
	toml, _, _ = strings.Cut(toml, "-- want")
	return toml
}

// writeFiles makes a folder of files.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
