package trust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A repository is a TUF repository on loopback. Its files are made by publish; a test
// changes what it needs to.
type repository struct {
	t        *testing.T
	url      string
	root     *metadata.Metadata[metadata.RootType]
	rootKeys []ed25519.PrivateKey // sign the root; the last one is the current
	online   ed25519.PrivateKey   // signs targets, snapshot, timestamp
	version  int64                // of those
	expires  time.Time            // of those
	targets  map[string][]byte

	mu    sync.Mutex
	files map[string][]byte
	asked []string
}

func newKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	return private
}

func newRepository(t *testing.T, targets map[string][]byte) *repository {
	t.Helper()
	r := &repository{
		t: t, rootKeys: []ed25519.PrivateKey{newKey(t)}, online: newKey(t), version: 1,
		expires: time.Now().Add(24 * time.Hour), targets: targets, files: map[string][]byte{},
	}
	r.root = metadata.Root(time.Now().Add(24 * time.Hour))
	r.addKey(r.rootKeys[0], metadata.ROOT)
	r.addKey(r.online, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP)
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.url = server.URL
	r.publishRoot()
	r.publish()
	return r
}

func (r *repository) addKey(private ed25519.PrivateKey, roles ...string) {
	r.t.Helper()
	key, err := metadata.KeyFromPublicKey(private.Public())
	must(r.t, err)
	for _, role := range roles {
		must(r.t, r.root.Signed.AddKey(key, role))
	}
}

// publishRoot signs the root with all the keys that sign it.
func (r *repository) publishRoot() {
	r.t.Helper()
	r.root.ClearSignatures()
	for _, private := range r.rootKeys {
		sign(r.t, r.root, private)
	}
	r.put(fmt.Sprintf("%d.root.json", r.root.Signed.Version), encoded(r.t, r.root))
}

// publish makes everything below the root.
func (r *repository) publish() {
	r.t.Helper()
	targets := metadata.Targets(r.expires)
	targets.Signed.Version = r.version
	for name, data := range r.targets {
		info, err := metadata.TargetFile().FromBytes(name, data, "sha256")
		must(r.t, err)
		targets.Signed.Targets[name] = info
		sum := sha256.Sum256(data)
		r.put("targets/"+hex.EncodeToString(sum[:])+"."+name, data)
	}
	sign(r.t, targets, r.online)
	r.put(fmt.Sprintf("%d.targets.json", r.version), encoded(r.t, targets))

	snapshot := metadata.Snapshot(r.expires)
	snapshot.Signed.Version = r.version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(r.version)
	sign(r.t, snapshot, r.online)
	r.put(fmt.Sprintf("%d.snapshot.json", r.version), encoded(r.t, snapshot))

	timestamp := metadata.Timestamp(r.expires)
	timestamp.Signed.Version = r.version
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(r.version)
	sign(r.t, timestamp, r.online)
	r.put("timestamp.json", encoded(r.t, timestamp))
}

func (r *repository) put(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = data
}

func (r *repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := strings.TrimPrefix(req.URL.Path, "/")
	r.asked = append(r.asked, name)
	data, ok := r.files[name]
	if !ok {
		http.NotFound(w, req)
		return
	}
	_, _ = w.Write(data)
}

// instance is one that follows the repository, and came with the given trusted
// root.
func (r *repository) instance(trusted []byte) instance {
	r.t.Helper()
	return instance{
		name: "test", url: r.url, signing: "signing_config.v0.2.json", signingV2: "signing_config_rekor_v2.v0.2.json",
		files: fstest.MapFS{
			"embedded/test/tuf_root.json":                     {Data: bytes.Clone(r.files["1.root.json"])},
			"embedded/test/trusted_root.json":                 {Data: trusted},
			"embedded/test/signing_config.v0.2.json":          {Data: embeddedFile(r.t, "public-good/signing_config.v0.2.json")},
			"embedded/test/signing_config_rekor_v2.v0.2.json": {Data: embeddedFile(r.t, "public-good/signing_config_rekor_v2.v0.2.json")},
		},
	}
}

func sign[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], private ed25519.PrivateKey) {
	t.Helper()
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	must(t, err)
	_, err = m.Sign(signer)
	must(t, err)
}

func encoded[T metadata.Roles](t *testing.T, m *metadata.Metadata[T]) []byte {
	t.Helper()
	data, err := m.ToBytes(false)
	must(t, err)
	return data
}

func embeddedFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := embedded.ReadFile("embedded/" + name)
	must(t, err)
	return data
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
