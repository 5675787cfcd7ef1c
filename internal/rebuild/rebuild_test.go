package rebuild

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
)

func TestRequestHasTheRecordedOptions(t *testing.T) {
	const toml = "version = \"1\"\nstrategy = \"initramfs\"\n[source]\nbusybox = false\n[init]\npath = \"my-init\"\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fledge.toml"), []byte(toml), 0o644); err != nil {
		t.Fatal(err)
	}
	rec := &statement.Record{
		Config: statement.File{Name: "fledge.toml", SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(toml)))}, Epoch: 1700000000,
		Options: map[string]string{statement.OptionArtifactURL: "https://example.com/a", statement.OptionPluginVersion: "2.0.0", statement.OptionAllowUnbootable: "true"},
	}
	r, err := Request(rec, dir)
	if err != nil || r.URL != "https://example.com/a" || r.Version != "2.0.0" || !r.AllowUnbootable || r.Epoch.Unix() != 1700000000 {
		t.Errorf("request %+v, %v", r, err)
	}
	rec.Options = nil
	if r, err = Request(rec, dir); err != nil || r.URL != "" || r.Version != "" || r.AllowUnbootable {
		t.Errorf("without options: %+v, %v", r, err)
	}
}
