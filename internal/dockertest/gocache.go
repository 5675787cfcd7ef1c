package dockertest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// goCache is a part of Go's build cache.
type goCache struct {
	dir   string
	files []string // below dir
}

// buildFlags are those of the Dockerfile that a package's compilation depends on.
var buildFlags = []string{"-trimpath", "-buildvcs=false"}

// compiled are the packages that cmd/fledge is made of, compiled as the Dockerfile has
// them compiled, in Go's build cache: from there they need not be compiled once more in
// the image, which takes minutes.
//
// That the cache's entries are named by the action, and that its output's name is in
// there, is how Go does it today. Where it does not fit, less is found and the build in
// the image takes longer; it is right in any case, since Go looks entries up by
// everything that they depend on.
func compiled(ctx context.Context, source string) (goCache, error) {
	dir, err := output(exec.CommandContext(ctx, "go", "env", "GOCACHE"))
	if err != nil {
		return goCache{}, err
	}
	args := append([]string{"list", "-deps", "-export", "-f", "{{.BuildID}}"}, buildFlags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/fledge")...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOTOOLCHAIN=local")
	ids, err := output(cmd)
	if err != nil {
		return goCache{}, err
	}
	c := goCache{dir: dir}
	for id := range strings.Lines(ids) {
		action, _, _ := strings.Cut(strings.TrimSpace(id), "/")
		prefix, err := base64.RawURLEncoding.DecodeString(action)
		if err != nil || len(prefix) == 0 {
			continue
		}
		matches, _ := filepath.Glob(filepath.Join(dir, fmt.Sprintf("%02x", prefix[0]), hex.EncodeToString(prefix)+"*-a"))
		for _, match := range matches {
			c.add(strings.TrimSuffix(filepath.Base(match), "-a"))
		}
	}
	return c, nil
}

// add adds an action's entries: what it made, and what it printed.
func (c *goCache) add(action string) {
	id, err := hex.DecodeString(action)
	if err != nil {
		return
	}
	printed := sha256.Sum256([]byte("subkey:" + string(id) + "stdout"))
	for _, action := range []string{action, hex.EncodeToString(printed[:])} {
		entry := filepath.Join(action[:2], action+"-a")
		text, err := os.ReadFile(filepath.Join(c.dir, entry))
		fields := strings.Fields(string(text)) // v1 ACTION OUTPUT size time
		if err != nil || len(fields) < 3 || len(fields[2]) < 2 {
			return
		}
		made := filepath.Join(fields[2][:2], fields[2]+"-d")
		if _, err := os.Stat(filepath.Join(c.dir, made)); err != nil {
			return
		}
		for _, file := range []string{entry, made} {
			if !slices.Contains(c.files, file) {
				c.files = append(c.files, file)
			}
		}
	}
}
