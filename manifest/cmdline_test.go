package manifest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// host is what the command lines below come from.
var host = Host{
	VM: "web", Address: "192.168.127.2", Gateway: "192.168.127.1", Netmask: "255.255.255.0",
	APIHost: "192.168.127.1", APIPort: 7777,
}

// cutManifest takes the encoded manifest out of a line and decodes it as Volant's
// agent does.
func cutManifest(t *testing.T, line string) (rest string, decoded []byte) {
	t.Helper()
	before, after, ok := strings.Cut(line, "volant.manifest=")
	if !ok {
		t.Fatalf("no manifest in %q", line)
	}
	value, after, _ := strings.Cut(after, " ")
	packed, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if decoded, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return before + "volant.manifest=M " + after, decoded
}

func TestKernelCommandLineHasVolantsWordsInOrder(t *testing.T) {
	ram := nginx()
	ram.Rootfs, ram.Initramfs = nil, &Initramfs{URL: "/srv/x.cpio.gz", Checksum: digest}
	extra, arm := host, host
	extra.Extra, arm.Console = "volant.rootfs_fstype=xfs debug", "ttyAMA0"
	const (
		fixed = " reboot=k panic=1 quiet loglevel=1 i8042.noaux i8042.nokbd pci=lastbus=0 ip=192.168.127.2::192.168.127.1:255.255.255.0:web:eth0:off"
		ours  = " volant.runtime=nginx volant.api_host=192.168.127.1 volant.api_port=7777 volant.plugin=nginx volant.manifest=M "
		disk  = "volant.rootfs_device=vda volant.rootfs_fstype=ext4"
	)
	tests := []struct {
		name string
		m    *Manifest
		h    Host
		want string
	}{
		{"rootfs", nginx(), host, "console=ttyS0" + fixed + ours + disk},
		{"initramfs", ram, host, "console=ttyS0" + fixed + ours},
		{"what the creator adds", nginx(), extra, "console=ttyS0" + fixed + " volant.rootfs_fstype=xfs debug" + ours + disk},
		{"another console", nginx(), arm, "console=ttyAMA0" + fixed + ours + disk},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			line, err := test.m.KernelCommandLine(test.h)
			if err != nil {
				t.Fatal(err)
			}
			got, decoded := cutManifest(t, line)
			if got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			var m Manifest
			if err := json.Unmarshal(decoded, &m); err != nil {
				t.Fatal(err)
			}
			if m.Labels["volant.plugin"] != "nginx" || m.Workload.BaseURL != test.m.Workload.BaseURL {
				t.Errorf("the line carries %s", decoded)
			}
			if estimate := test.m.CommandLine().Used; len(test.h.Extra) == 0 && estimate < len(line) {
				t.Errorf("the line has %d bytes, CommandLine says %d at most", len(line), estimate)
			}
		})
	}
}

func TestKernelCommandLineRefusesTheFirstByteOverTheLimit(t *testing.T) {
	m, h := nginx(), host
	m.Labels = map[string]string{"big": noise("big", 900)}
	line, err := m.KernelCommandLine(h)
	if err != nil {
		t.Fatal(err)
	}
	h.Extra = strings.Repeat("x", CommandLineLimit-len(line)-1) // and a space
	if line, err := m.KernelCommandLine(h); err != nil || len(line) != CommandLineLimit {
		t.Errorf("%d bytes: %v", len(line), err)
	}
	h.Extra += "x"
	_, err = m.KernelCommandLine(h)
	if err == nil || !strings.Contains(err.Error(), "it has 2048 bytes, the kernel keeps 2047") || !strings.Contains(err.Error(), "labels.big ") {
		t.Errorf("one byte more: %v", err)
	}
}
