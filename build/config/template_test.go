package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/manifest"
)

func TestManifestTOMLIsTranslated(t *testing.T) {
	got, err := ParseTemplate("manifest.toml", []byte(`
schema_version = "v1"
name = "web"
version = "1.0.0"
runtime = "nginx"

[resources]
cpu_cores = 2
memory_mb = 512

[workload]
entrypoint = "/usr/sbin/nginx"
args = ["-g", "daemon off;"]
env = { A = "workload", B = "workload" }

[env]
B = "top"
C = "top"

[network]
mode = "bridged"

[[network.expose]]
port = 8443
protocol = "tcp"

[[network.expose]]
port = 53
protocol = "udp"

[[network.expose]]
port = 8000

[actions.reload]
method = "POST"
path = "/reload"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &manifest.Manifest{
		Name: "web", Version: "1.0.0", Runtime: "nginx",
		Resources: manifest.Resources{CPUCores: 2, MemoryMB: 512},
		Workload: manifest.Workload{
			Entrypoint: []string{"/usr/sbin/nginx", "-g", "daemon off;"},
			Env:        map[string]string{"A": "workload", "B": "top", "C": "top"},
		},
		Network: &manifest.Network{Mode: "bridged"},
		Actions: map[string]manifest.Action{"reload": {Method: "POST", Path: "/reload"}},
	}
	if diff := cmp.Diff(want, got.Manifest); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !slices.Equal(got.Ports, []int{8000, 8443}) {
		t.Errorf("ports = %v", got.Ports)
	}
}

func TestManifestTOMLForms(t *testing.T) {
	tests := []struct {
		name, text string
		entrypoint []string
		ports      []int
		wantErr    string
	}{
		{name: "list", text: `workload.entrypoint = ["/a", "b"]`, entrypoint: []string{"/a", "b"}},
		{name: "list and args", text: "[workload]\nentrypoint = [\"/a\"]\nargs = [\"b\"]", entrypoint: []string{"/a", "b"}},
		{name: "empty string", text: `workload.entrypoint = ""`},
		{name: "command line", text: `workload.entrypoint = "/a -b"`, wantErr: `m.toml:1:23: "workload.entrypoint" is "/a -b": no shell splits it (write the arguments in args, or a list)`},
		{name: "args alone", text: "[workload]\nargs = [\"-v\"]", wantErr: `m.toml:2:8: "workload.args" without "workload.entrypoint": they follow a program of this file, not the image's (write entrypoint = "/path/to/program")`},
		{name: "number", text: `workload.entrypoint = 3`, wantErr: `m.toml:1:23: "workload.entrypoint" is a whole number, want a string (write "3")`},
		{name: "number in list", text: `workload.entrypoint = ["a", 3]`, wantErr: `m.toml:1:29: "workload.entrypoint[1]" is a whole number, want a string (write "3")`},
		{name: "ports", text: `network.expose = [80, "81", "82/tcp", "53/udp", {port = 83}, {port = 84, protocol = "udp"}]`, ports: []int{80, 81, 82, 83}},
		{name: "expose alone", text: `network = { expose = [80] }`, ports: []int{80}},
		{name: "bad ports", text: `network.expose = ["x", 0, 65536, "80/icmp", true]`, wantErr: strings.Join([]string{
			`m.toml:1:19: "network.expose[0]" is x, want a port such as 80 or "80/tcp"`,
			`m.toml:1:24: "network.expose[1]" is 0, want a port such as 80 or "80/tcp"`,
			`m.toml:1:27: "network.expose[2]" is 65536, want a port such as 80 or "80/tcp"`,
			`m.toml:1:34: "network.expose[3]" is 80/icmp, want a port such as 80 or "80/tcp"`,
			`m.toml:1:45: "network.expose[4]" is true, want a port such as 80 or "80/tcp"`,
		}, "\n")},
		{name: "bad port table", text: `network.expose = [{port = 0}, {protocol = "tcp"}, {port = 1, x = 1}]`, wantErr: strings.Join([]string{
			`m.toml:1:27: "network.expose[0].port" is 0, want 1 to 65535`,
			`m.toml:1:31: missing key "network.expose[1].port"`,
			`m.toml:1:62: unknown key "network.expose[2].x"`,
		}, "\n")},
		{name: "no list", text: `network.expose = 80`, wantErr: `m.toml:1:18: "network.expose" is a whole number, want an array of ports`},
		{name: "unknown", text: "naem = \"x\"\n[workload]\ncommand = \"x\"\n[rootfs]\nurl = \"x\"\n", wantErr: strings.Join([]string{
			`m.toml:1:1: unknown key "naem" (did you mean "name"?)`,
			`m.toml:3:1: unknown key "workload.command" (write workload.entrypoint)`,
			`m.toml:4:1: unknown key "rootfs" (the build writes it; plugin.url sets its URL)`,
		}, "\n")},
		{name: "rule of the manifest", text: "[env]\n\"A=B\" = \"\"\n[health_check]\nendpoint = \"/a?b\"\ntimeout_ms = 1\n", wantErr: strings.Join([]string{
			`m.toml:2:9: "workload.env.\"A=B\"": "A=B" cannot be the name of an environment variable (rename it)`,
			`m.toml:4:12: "health_check.endpoint": "/a?b" would be escaped, and the query or fragment with it (give a plain path)`,
		}, "\n")},
		{name: "syntax", text: "name = \n", wantErr: `m.toml:1:8: expected value but found '\n' instead`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseTemplate("m.toml", []byte(tt.text))
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("error = %v\nwant    %s", err, tt.wantErr)
				}
				if _, ok := errors.AsType[Errors](err); !ok {
					t.Errorf("the error is a %T", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Manifest.Workload.Entrypoint, tt.entrypoint) || !slices.Equal(got.Ports, tt.ports) || got.Manifest.Network != nil {
				t.Errorf("manifest = %+v, ports = %v", got.Manifest, got.Ports)
			}
		})
	}
}

func TestJSONTemplateMayLackWhatTheBuildWrites(t *testing.T) {
	got, err := ParseTemplate("manifest/NGINX.JSON", []byte(`{"name":"nginx","rootfs":{"url":"https://h/x"},"workload":{"entrypoint":["nginx"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseTemplate("m.json", []byte("\xef\xbb\xbf{}")); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	if got.Manifest.Name != "nginx" || got.Manifest.Rootfs.URL != "https://h/x" || len(got.Warnings) > 0 {
		t.Errorf("template = %+v", got)
	}
	tests := map[string]string{
		"{\n \"nmae\": \"x\", \"b\": 1}":                           "m.json:2:2: unknown key \"nmae\" (did you mean \"name\"?)\nm.json:2:15: unknown key \"b\"",
		"{\n \"workload\": {\"args\": []}}":                        `m.json:2:15: unknown key "workload.args" (append the arguments to workload.entrypoint)`,
		"{\n \"workload\": {\"version\": \"1\"}}":                  `m.json:2:15: unknown key "workload.version" (did you mean "version"?)`,
		"{\n \"name\": \"a b\"}":                                   `m.json:2:10: "name": "a b" does not fit on a kernel command line and in a URL path (use letters, digits, '.', '_', '-' and '~', a letter or digit first)`,
		`{"name":"x","name":"y"}`:                                  `m.json:1:13: key "name" is repeated`,
		`{"enabled":false}`:                                        `m.json:1:12: "enabled" is false, and Volant refuses VMs of a plugin that is not enabled (remove it: the build writes true)`,
		`{"rootfs":{"url":"/a"},"initramfs":{"url":"/b"}}`:         `m.json:1:36: rootfs and initramfs are both given (remove one of the two)`,
		`{"network":{}}`:                                           `m.json:1:12: "network.mode": "" is not a mode (write bridged, dhcp or vsock, or leave network out)`,
		`{"health_check":{"endpoint":"/"}}`:                        `m.json:1:17: "health_check.timeout_ms": 0 is not a time; the schema requires both keys of health_check (give milliseconds, such as 10000)`,
		`{"name":"` + strings.Repeat("n", manifest.MaxSize) + `"}`: `m.json: reading manifest: more than 1048576 bytes`,
	}
	for text, want := range tests {
		_, err := ParseTemplate("m.json", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
	}
}

func TestFindTemplateIsSilentOnlyWhenThereIsNone(t *testing.T) {
	dir := t.TempDir()
	if got, err := FindTemplate(dir); got != nil || err != nil {
		t.Errorf("empty folder: %v, %v", got, err)
	}
	file := filepath.Join(dir, TemplateName)
	if err := os.WriteFile(file, []byte("name = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := FindTemplate(dir); err != nil || got.Manifest.Name != "x" || got.File != file {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte("nam = \"x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := FindTemplate(dir); err == nil {
		t.Error("a bad file is passed over")
	}
	if _, err := LoadTemplate(filepath.Join(dir, "none.json")); err == nil {
		t.Error("a missing file is passed over")
	}
}
