package testneed

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Module returns the folder of a module that tools/schemas/go.mod pins, from Go's module
// cache. The network is not asked: "make tools" does that.
func Module(t testing.TB, module string) string {
	t.Helper()
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		Missing(t, "schemas", "go env: "+err.Error())
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)
	cmd.Dir = filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "tools/schemas")
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		Missing(t, "schemas", "module "+module+" is not in the module cache; run make tools. "+dir)
	}
	return dir
}
