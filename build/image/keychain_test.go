package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/volant/fledge-action/internal/ocitest"
)

// dockerConfig makes docker's configuration for a test, and a credential helper
// docker-credential-NAME on the PATH for every shell script given.
func dockerConfig(t *testing.T, config string, helpers map[string]string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, script := range helpers {
		if err := os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("DOCKER_CONFIG", dir)
	t.Setenv("HOME", dir)
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

func TestDockersConfigurationGivesCredentials(t *testing.T) {
	im := sample(t)
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "team/app:v1", im)
	reg.RequireBasic("me", "s3cret")
	good := base64.StdEncoding.EncodeToString([]byte("me:s3cret"))
	answer := `read host; [ "$1 $host" = "get ` + reg.Host + `" ] || { echo "credentials not found in native keychain"; exit 1; }; echo '{"ServerURL":"x","Username":"me","Secret":"s3cret"}'`
	helper := fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, reg.Host)
	tests := []struct {
		name, config string
		helper       string
		want         string // "" means it opens
	}{
		{"auths", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, reg.Host, good), "", ""},
		{"auths of another registry", fmt.Sprintf(`{"auths":{"registry.example.com":{"auth":%q}}}`, good), "", "docker login"},
		{"auths with a bad password", fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6bm8="}}}`, reg.Host), "", "docker login"},
		{"helper for the registry", helper, answer, ""},
		{"helper for all", `{"credsStore":"test"}`, answer, ""},
		{"helper that knows nothing", helper, `echo "credentials not found in native keychain"; exit 1`, "docker login"},
		{"helper that fails", helper, `echo "vault is locked"; exit 1`, "vault is locked"},
		{"helper that babbles", helper, `echo "<html>"`, "finding credentials"},
		{"helper that is missing", fmt.Sprintf(`{"credHelpers":{%q:"nowhere"}}`, reg.Host), "", "docker-credential-nowhere"},
		{"malformed configuration", `{"auths":`, "", "finding credentials"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			helpers := map[string]string{}
			if test.helper != "" {
				helpers["test"] = test.helper
			}
			dockerConfig(t, test.config, helpers)
			got, err := Open(t.Context(), ref, Options{Keychain: authn.DefaultKeychain, Policy: quick})
			if err == nil {
				topDown(t, got)
				_ = got.Close()
			}
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}

// A credential helper may wait for somebody to unlock something: this one does
// until its folder is removed.
func TestCancellationDoesNotWaitForACredentialHelper(t *testing.T) {
	reg := ocitest.NewRegistry(t)
	ref := reg.Push(t, "app:v1", sample(t))
	dockerConfig(t, fmt.Sprintf(`{"credHelpers":{%q:"test"}}`, reg.Host), map[string]string{"test": `while [ -e "$0" ]; do sleep 0.1; done`})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	start := time.Now()
	_, err := Open(ctx, ref, Options{Keychain: authn.DefaultKeychain, Policy: quick})
	if took := time.Since(start); !errors.Is(err, context.Canceled) || took > 10*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
