package main

import (
	"archive/tar"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/volant/fledge-action/internal/ocitest"
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
			text, err := os.ReadFile("../../build/config/testdata/example_" + example + ".txtar")
			if err != nil {
				t.Fatal(err)
			}
			_, toml, _ := strings.Cut(string(text), "-- fledge.toml --\n")
			toml, _, _ = strings.Cut(toml, "-- want")
			dir := t.TempDir()
			for name, content := range map[string]string{
				"fledge.toml": toml, "configs/nginx.conf": "events { }\n", "html/index.html": "hello\n",
			} {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
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
