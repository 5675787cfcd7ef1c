package sigstoretest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/volant/fledge-action/internal/testneed"
)

// toolFolder names the folder of the programs when they are not in the user's
// cache folder. tools/sigstore/build.sh puts them there.
const toolFolder = "FLEDGE_SIGSTORE_TOOLS"

// modules are the folders below tools/sigstore whose go.mod pins each program.
var modules = map[string]string{
	"fulcio":           ".",
	"rekor-server":     ".",
	"timestamp-server": ".",
	"cosign3":          ".",
	"cosign2":          "cosign2",
}

// Program is the path of a program that "make e2e-sigstore-tools" built: fulcio,
// rekor-server, timestamp-server, cosign2 or cosign3. A test is skipped aloud
// without it; the need is "cosign" for the last two and "sigstore" for the others.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := program(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		need := "sigstore"
		if strings.HasPrefix(name, "cosign") {
			need = "cosign"
		}
		testneed.Missing(t, need, name+" is not built: make e2e-sigstore-tools")
	}
	return path
}

// program is where the program is that today's go.mod and go.sum ask for.
func program(name string) (string, error) {
	dir := os.Getenv(toolFolder)
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "fledge-sigstore")
	}
	_, here, _, _ := runtime.Caller(0)
	pins := filepath.Join(filepath.Dir(here), "../../tools/sigstore", modules[name])
	sources, err := filepath.Glob(filepath.Join(pins, "*", "main.go"))
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, file := range append([]string{filepath.Join(pins, "go.mod"), filepath.Join(pins, "go.sum")}, sources...) {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading what %s is built from: %w", name, err)
		}
		sum.Write(text)
	}
	return filepath.Join(dir, name+"-"+hex.EncodeToString(sum.Sum(nil))[:12]), nil
}
