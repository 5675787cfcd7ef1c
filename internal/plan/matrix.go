package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// Limits of GitHub on a job matrix.
const (
	MaxJobs   = 256
	MaxMatrix = 1 << 20 // bytes of a job's outputs
)

// Matrix is one line of JSON without a line break, for strategy.matrix of GitHub Actions:
//
//	{"include":[{"name":"web","config":"web/fledge.toml","platform":"linux/amd64","runner":"ubuntu-24.04","strategy":"oci_rootfs"}]}
//
// Without plugins the list is empty, with which GitHub would fail the job: do not start it.
func Matrix(plugins []Plugin) ([]byte, error) {
	if len(plugins) > MaxJobs {
		return nil, fmt.Errorf("making a job matrix: %d plugins: GitHub starts %d jobs at most; name fewer, or build several in one job", len(plugins), MaxJobs)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(struct {
		Include []Plugin `json:"include"`
	}{append([]Plugin{}, plugins...)}); err != nil {
		return nil, fmt.Errorf("making a job matrix: %w", err)
	}
	line := bytes.TrimRight(out.Bytes(), "\n")
	if len(line) > MaxMatrix {
		return nil, fmt.Errorf("making a job matrix: %d bytes: GitHub takes %d at most; name fewer plugins", len(line), MaxMatrix)
	}
	return line, nil
}

// CacheKey names what the builds of plugins download: "fledge-" and 64 hex digits. It is
// the sha256 of one line for each plugin: path, digest of its fledge.toml, digest of its
// fledge.lock or "-", with spaces between them. It changes with each of these files.
func CacheKey(plugins []Plugin) string {
	h := sha256.New()
	for _, p := range plugins {
		fmt.Fprintf(h, "%s %s %s\n", p.Config, p.configDigest, cmp.Or(p.lockDigest, "-"))
	}
	return fmt.Sprintf("fledge-%x", h.Sum(nil))
}
