package vmtest

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxCommandLine is how much of the command line an x86 kernel keeps, in bytes. It drops
// the rest without a word.
const maxCommandLine = 2047

// The machine's network, which has Volant's addresses.
const (
	guestIP = "192.168.127.2"
	hostIP  = "192.168.127.1"
	netmask = "255.255.255.0"
)

// plugin is what of a manifest matters outside the guest.
type plugin struct {
	Name    string `json:"name"`
	Runtime string `json:"runtime"`
	Enabled bool   `json:"enabled"`
	Rootfs  *struct {
		URL      string `json:"url"`
		Checksum string `json:"checksum"`
	} `json:"rootfs"`
	Workload struct {
		BaseURL string `json:"base_url"`
	} `json:"workload"`
	Health struct {
		Endpoint string `json:"endpoint"`
	} `json:"health_check"`
}

// commandLine returns the kernel command line with which Volant boots a plugin whose
// manifest is the given JSON.
func commandLine(p *plugin, manifest []byte) (string, error) {
	encoded, err := encodeManifest(manifest)
	if err != nil {
		return "", err
	}
	line := strings.Join([]string{
		"console=ttyS0 reboot=k panic=1 quiet loglevel=1 i8042.noaux i8042.nokbd pci=lastbus=0",
		fmt.Sprintf("ip=%s::%s:%s:%s:eth0:off", guestIP, hostIP, netmask, p.Name),
		"volant.runtime=" + p.Runtime,
		"volant.api_host=" + hostIP,
		"volant.api_port=7777",
		"volant.plugin=" + p.Name,
		"volant.manifest=" + encoded,
		"volant.rootfs_device=vda",
		"volant.rootfs_fstype=ext4",
	}, " ")
	if len(line) > maxCommandLine {
		return "", fmt.Errorf("the kernel command line has %d bytes, the kernel keeps %d; the manifest takes %d of them",
			len(line), maxCommandLine, len(encoded))
	}
	return line, nil
}

// encodeManifest returns base64url of gzip of the JSON without white space.
func encodeManifest(manifest []byte) (string, error) {
	var compact, packed bytes.Buffer
	if err := json.Compact(&compact, manifest); err != nil {
		return "", err
	}
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(compact.Bytes()); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(packed.Bytes()), nil
}

// parsePlugin reads a manifest and refuses what Volant would refuse later.
func parsePlugin(manifest []byte) (*plugin, error) {
	var p plugin
	if err := json.Unmarshal(manifest, &p); err != nil {
		return nil, fmt.Errorf("parsing the manifest: %w", err)
	}
	switch {
	case p.Name == "" || strings.ContainsAny(p.Name+p.Runtime, " \t\n"):
		return nil, fmt.Errorf("manifest name %q or runtime %q does not fit on a kernel command line", p.Name, p.Runtime)
	case !p.Enabled:
		return nil, fmt.Errorf("manifest of %q: enabled is not true", p.Name)
	case p.Rootfs == nil:
		return nil, fmt.Errorf("manifest of %q has no rootfs", p.Name)
	}
	if p.Runtime == "" {
		p.Runtime = p.Name
	}
	return &p, nil
}

// verify compares the image's digest with the manifest's checksum by Volant's rules: the
// prefix in lower case or none, the digits in any.
func verify(image, checksum string) error {
	f, err := os.Open(image)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return err
	}
	got := hex.EncodeToString(hash.Sum(nil))
	if want := strings.TrimPrefix(checksum, "sha256:"); !strings.EqualFold(got, want) {
		return fmt.Errorf("image %q has the digest %s, its manifest says %q", image, got, checksum)
	}
	return nil
}
