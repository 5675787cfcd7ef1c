package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/manifest"
)

const checksum = "sha256:6e123e7f3202a8c1e9b1f94d8941580a25135382b99e8d3e34fb858bba311348"

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("fledge.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func oci(t *testing.T, more string) *Config {
	t.Helper()
	return parse(t, "version = \"1\"\nstrategy = \"oci_rootfs\"\nsource.image = \"nginx:1.27\"\n"+more)
}

// nginx is the configuration of an image as registries have it.
func nginx() *Image {
	return &Image{
		Name:         "nginx",
		Tag:          "1.27.2-alpine",
		Reference:    "docker.io/library/nginx:1.27.2-alpine",
		Digest:       checksum,
		Entrypoint:   []string{"/docker-entrypoint.sh"},
		Cmd:          []string{"nginx", "-g", "daemon off;"},
		Env:          []string{"PATH=/usr/sbin:/usr/bin", "NGINX_VERSION=1.27.2", "EMPTY="},
		ExposedPorts: []string{"443/tcp", "80/tcp", "53/udp"},
	}
}

func TestMergeTakesEverythingFromTheImage(t *testing.T) {
	d, err := Merge(Inputs{Config: oci(t, ""), Image: nginx()})
	if err != nil {
		t.Fatal(err)
	}
	want := &manifest.Manifest{
		SchemaVersion: "1.0", Name: "nginx", Version: "1.27.2-alpine", Runtime: "nginx", Enabled: true,
		Image: "docker.io/library/nginx:1.27.2-alpine", ImageDigest: checksum,
		Resources: manifest.Resources{CPUCores: 2, MemoryMB: 1024},
		Workload: manifest.Workload{
			Type:       "http",
			Entrypoint: []string{"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"},
			BaseURL:    "http://127.0.0.1:80",
			Env:        map[string]string{"PATH": "/usr/sbin:/usr/bin", "NGINX_VERSION": "1.27.2", "EMPTY": ""},
		},
	}
	if diff := cmp.Diff(want, d.Manifest); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(d.Warnings) > 0 || d.URL != "" {
		t.Errorf("warnings = %v, url = %q", d.Warnings, d.URL)
	}
	d.Manifest.Rootfs = &manifest.Rootfs{URL: "/srv/nginx.img", Checksum: checksum, Format: "raw"}
	if warnings, err := d.Check(); err != nil || len(warnings) > 0 {
		t.Errorf("Check = %v, %v", warnings, err)
	}
}

// Each source overrides those below it, key by key.
func TestMergePrecedence(t *testing.T) {
	flags := &manifest.Manifest{Name: "flag"}
	config := oci(t, "[plugin]\nname = \"config\"\nversion = \"2\"\nlabels = { a = \"config\", b = \"config\" }\n[workload]\nenv = { E = \"config\", F = \"config\" }\n[resources]\nmemory_mb = 5\n")
	template, err := ParseTemplate("manifest.toml", []byte(`
name = "template"
version = "3"
runtime = "template"
labels = { b = "template", c = "template" }
[workload]
env = { F = "template", G = "template" }
workdir = "/template"
[resources]
memory_mb = 6
cpu_cores = 6
`))
	if err != nil {
		t.Fatal(err)
	}
	image := nginx()
	image.Env = []string{"G=image", "H=image"}
	image.WorkingDir = "/image"

	type result struct{ Name, Version, Runtime, Workdir, Env, Labels, Resources string }
	get := func(in Inputs) result {
		d, err := Merge(in)
		if err != nil {
			t.Fatal(err)
		}
		flat := func(m map[string]string) string {
			var all []string
			for k, v := range m {
				all = append(all, k+"="+v)
			}
			slices.Sort(all)
			return strings.Join(all, " ")
		}
		m := d.Manifest
		return result{m.Name, m.Version, m.Runtime, m.Workload.Workdir, flat(m.Workload.Env), flat(m.Labels), strings.Trim(strings.Join(strings.Fields(
			string(rune('0'+m.Resources.CPUCores))+" "+string(rune('0'+m.Resources.MemoryMB%1000))), " "), " ")}
	}
	got := get(Inputs{Flags: flags, Config: config, Template: template, Image: image})
	want := result{"flag", "2", "template", "/template", "E=config F=config G=template H=image", "a=config b=config c=template", "6 5"}
	if got != want {
		t.Errorf("all:           %+v\nwant           %+v", got, want)
	}
	got = get(Inputs{Template: template, Image: image})
	want = result{"template", "3", "template", "/template", "F=template G=template H=image", "b=template c=template", "6 6"}
	if got != want {
		t.Errorf("template:      %+v\nwant           %+v", got, want)
	}
	got = get(Inputs{Config: config, Image: image})
	want = result{"config", "2", "config", "/image", "E=config F=config G=image H=image", "a=config b=config", "2 5"}
	if got != want {
		t.Errorf("config, image: %+v\nwant           %+v", got, want)
	}
}

func TestMergeLeavesItsSourcesAsTheyAre(t *testing.T) {
	config := oci(t, "[plugin]\nlabels = { a = \"1\" }\n[workload]\nentrypoint = [\"server\"]\n")
	template, err := ParseTemplate("manifest.toml", []byte("labels = { b = \"1\" }\nenv = { X = \"1\" }\n"))
	if err != nil {
		t.Fatal(err)
	}
	in := Inputs{Config: config, Template: template, Image: nginx(), Executable: func(string) bool { return true }}
	first, err := Merge(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(config.Plugin.Labels) != 1 || config.Workload.Entrypoint[0] != "server" || len(template.Manifest.Workload.Env) != 1 || len(template.Manifest.Labels) != 1 {
		t.Errorf("config = %+v, template = %+v", config.Plugin, template.Manifest)
	}
	second, err := Merge(in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.Manifest, second.Manifest); diff != "" {
		t.Errorf("a second merge differs:\n%s", diff)
	}
}

func TestVersionComesFromTagsThatLookLikeOne(t *testing.T) {
	tests := map[string]string{
		"1": "1", "v1.2": "1.2", "1.27.2": "1.27.2", "1.27-alpine": "1.27-alpine", "8-jre": "8-jre", "20240101": "20240101", "1.0_rc1": "1.0_rc1",
		"": "0.0.0", "latest": "0.0.0", "alpine": "0.0.0", "bookworm": "0.0.0", "1a2b3c4": "0.0.0", "v": "0.0.0", "vim": "0.0.0", "1..2": "1..2",
	}
	for tag, want := range tests {
		i := nginx()
		i.Tag = tag
		d, err := Merge(Inputs{Image: i})
		if err != nil {
			t.Fatal(err)
		}
		if d.Manifest.Version != want {
			t.Errorf("tag %q gives version %q, want %q", tag, d.Manifest.Version, want)
		}
	}
}

func TestProgramIsMadeAbsolute(t *testing.T) {
	files := []string{"/usr/sbin/nginx", "/opt/bin/tool", "/usr/local/bin/tool", "/usr/bin/tool"}
	tests := []struct {
		name       string
		entrypoint []string
		env        []string
		workdir    string
		more       string // of fledge.toml
		want       string // first element
		wantErr    string
	}{
		{name: "absolute", entrypoint: []string{"/x/y"}, want: "/x/y"},
		{name: "on PATH", entrypoint: []string{"nginx"}, env: []string{"PATH=/usr/bin:/usr/sbin"}, want: "/usr/sbin/nginx"},
		{name: "first on PATH", entrypoint: []string{"tool"}, env: []string{"PATH=/opt/bin/:/usr/bin"}, want: "/opt/bin/tool"},
		{name: "default PATH", entrypoint: []string{"tool"}, want: "/usr/local/bin/tool"},
		{name: "empty PATH", entrypoint: []string{"tool"}, env: []string{"PATH="}, want: "/usr/local/bin/tool"},
		{name: "PATH of fledge.toml", entrypoint: []string{"tool"}, env: []string{"PATH=/opt/bin"}, more: "workload.env.PATH = \"/usr/bin\"", want: "/usr/bin/tool"},
		{name: "relative entries of PATH do not count", entrypoint: []string{"tool"}, env: []string{"PATH=:.:opt/bin:/usr/bin"}, want: "/usr/bin/tool"},
		{name: "relative to WORKDIR", entrypoint: []string{"./run.sh"}, workdir: "/srv/app", want: "/srv/app/run.sh"},
		{name: "relative without WORKDIR", entrypoint: []string{"bin/run"}, want: "/bin/run"},
		{name: "relative WORKDIR", entrypoint: []string{"../run"}, workdir: "srv/app", want: "/srv/run"},
		{
			name: "not found", entrypoint: []string{"none"}, env: []string{"PATH=/usr/bin"},
			wantErr: `fledge.toml:1:1: manifest workload.entrypoint[0]: no executable "none" in PATH (/usr/bin) of the artifact; give the program's absolute path (from the image's ENTRYPOINT and CMD; set workload.entrypoint)`,
		},
		{
			name: "not found, from fledge.toml", entrypoint: []string{"x"}, env: []string{"PATH=/usr/bin"}, more: "workload.entrypoint = [\"none\"]",
			wantErr: `fledge.toml:4:24: manifest workload.entrypoint[0]: no executable "none" in PATH (/usr/bin) of the artifact; give the program's absolute path`,
		},
		{name: "no program", wantErr: `fledge.toml:1:1: the image has neither ENTRYPOINT nor CMD: write entrypoint = ["/path/to/program", "argument"] in [workload]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := nginx()
			i.Entrypoint, i.Cmd, i.Env, i.WorkingDir = tt.entrypoint, nil, tt.env, tt.workdir
			d, err := Merge(Inputs{Config: oci(t, tt.more), Image: i, Executable: func(name string) bool { return slices.Contains(files, name) }})
			if tt.wantErr != "" {
				if err == nil || err.Error() != tt.wantErr {
					t.Errorf("error = %v\nwant    %s", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Manifest.Workload.Entrypoint[0]; got != tt.want {
				t.Errorf("program = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEntrypointOfAHigherSourceReplacesCmdToo(t *testing.T) {
	d, err := Merge(Inputs{Config: oci(t, "workload.entrypoint = [\"/bin/a\"]"), Image: nginx()})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Manifest.Workload.Entrypoint; !slices.Equal(got, []string{"/bin/a"}) {
		t.Errorf("entrypoint = %q", got)
	}
}

func TestBaseURLComesFromTheLowestTCPPort(t *testing.T) {
	tests := []struct {
		name    string
		ports   []string
		config  string
		expose  string
		want    string
		warning bool
	}{
		{name: "lowest", ports: []string{"8443/tcp", "8000/tcp"}, want: "http://127.0.0.1:8000"},
		{name: "without protocol", ports: []string{"9000"}, want: "http://127.0.0.1:9000"},
		{name: "numbers, not text", ports: []string{"9000/tcp", "10000/tcp"}, want: "http://127.0.0.1:9000"},
		{name: "range", ports: []string{"8000-8010/tcp"}, want: "http://127.0.0.1:8000"},
		{name: "not UDP", ports: []string{"53/udp", "8000/tcp"}, want: "http://127.0.0.1:8000"},
		{name: "only UDP", ports: []string{"53/udp"}, want: "http://127.0.0.1:80", warning: true},
		{name: "none", want: "http://127.0.0.1:80", warning: true},
		{name: "nonsense", ports: []string{"http", "0/tcp", "65536/tcp", "-1"}, want: "http://127.0.0.1:80", warning: true},
		{name: "expose of manifest.toml", ports: []string{"80/tcp"}, expose: "network.expose = [9001, 9000]", want: "http://127.0.0.1:9000"},
		{name: "base_url", ports: []string{"80/tcp"}, expose: "network.expose = [9001]", config: "workload.base_url = \"http://127.0.0.1:7\"", want: "http://127.0.0.1:7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := nginx()
			i.ExposedPorts = tt.ports
			in := Inputs{Config: oci(t, tt.config), Image: i}
			if tt.expose != "" {
				var err error
				if in.Template, err = ParseTemplate("manifest.toml", []byte(tt.expose)); err != nil {
					t.Fatal(err)
				}
			}
			d, err := Merge(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Manifest.Workload.BaseURL; got != tt.want || (len(d.Warnings) > 0) != tt.warning {
				t.Errorf("base_url = %q, warnings = %v", got, d.Warnings)
			}
		})
	}
}

func TestMergeWarnsOfAUserThatVolantIgnores(t *testing.T) {
	for user, want := range map[string]bool{"": false, "root": false, "0": false, "0:0": false, "root:adm": false, "nginx": true, "101:101": true, "1000": true} {
		i := nginx()
		i.User = user
		d, err := Merge(Inputs{Config: oci(t, ""), Image: i})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(d.Warnings) == 1 && strings.HasPrefix(d.Warnings[0].Error(), "fledge.toml:3:16: the image's USER"); got != want {
			t.Errorf("USER %q: %v", user, d.Warnings)
		}
	}
}

// Without an image and [workload] there is still a program to start.
func TestProgramsAreGuessedFromMappings(t *testing.T) {
	const head = "version = \"1\"\nstrategy = \"initramfs\"\n"
	tests := []struct {
		name, toml string
		want       []string
		warnings   int // besides the one about the port
	}{
		{"one program", head + "[mappings]\nmyapp = \"/usr/bin/myapp\"\n\"c\" = \"/etc/c\"\n", []string{"/usr/bin/myapp"}, 0},
		{"into a folder", head + "[mappings]\n\"out/myapp\" = \"/usr/local/bin/\"\n", []string{"/usr/local/bin/myapp"}, 0},
		{"several", head + "[mappings]\n\"a.sh\" = \"/usr/local/bin/a.sh\"\n\"b\" = \"/usr/bin/b\"\n", []string{"/usr/bin/b"}, 1},
		{"folders are no programs", head + "[mappings]\n\"bin/\" = \"/usr/bin/x\"\n", idle, 1},
		{"nothing", head, idle, 1},
		{"own init", head + "init.path = \"/opt/init\"\n", []string{"/opt/init"}, 0},
		{"own init of the project", head + "init.path = \"my-init\"\n", []string{"/sbin/init"}, 0},
		{"no init", head + "init.none = true\nmappings = { i = \"/init\" }\n", []string{"/init"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Merge(Inputs{Config: parse(t, tt.toml), DefaultName: "plugin"})
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Manifest.Workload.Entrypoint; !slices.Equal(got, tt.want) || len(d.Warnings) != tt.warnings+1 {
				t.Errorf("entrypoint = %q, warnings = %v", got, d.Warnings)
			}
			d.Manifest.Initramfs = &manifest.Initramfs{URL: "/srv/plugin.cpio.gz", Checksum: checksum}
			if _, err := d.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestArtifactURLIsThatOfTheStrategy(t *testing.T) {
	const urls = `{"rootfs":{"url":"https://t/rootfs"}}`
	const ramURLs = `{"initramfs":{"url":"https://t/initramfs"}}`
	ram := "version = \"1\"\nstrategy = \"initramfs\"\n"
	tests := []struct {
		name, config, template string
		flags                  *manifest.Manifest
		want                   string
	}{
		{"none", "", "{}", nil, ""},
		{"template", "", urls, nil, "https://t/rootfs"},
		{"template of the other medium", "", ramURLs, nil, ""},
		{"config over template", "plugin.url = \"/c\"", urls, nil, "/c"},
		{"flag over config", "plugin.url = \"/c\"", urls, &manifest.Manifest{Rootfs: &manifest.Rootfs{URL: "/f"}}, "/f"},
		{"initramfs", ram, ramURLs, nil, "https://t/initramfs"},
		{"initramfs with the other template", ram, urls, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			template, err := ParseTemplate("m.json", []byte(tt.template))
			if err != nil {
				t.Fatal(err)
			}
			c := parse(t, ram)
			if !strings.HasPrefix(tt.config, "version") {
				c = oci(t, tt.config)
			}
			d, err := Merge(Inputs{Flags: tt.flags, Config: c, Template: template, Image: nginx()})
			if err != nil {
				t.Fatal(err)
			}
			if d.URL != tt.want || d.Manifest.Rootfs != nil || d.Manifest.Initramfs != nil {
				t.Errorf("url = %q, want %q", d.URL, tt.want)
			}
		})
	}
}

// Check says where a bad value comes from and which key changes it.
func TestCheckNamesTheKeyToChange(t *testing.T) {
	jsonTemplate := func(text string) *Template {
		tpl, err := ParseTemplate("m.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return tpl
	}
	tests := []struct {
		name string
		in   Inputs
		want []string // prefixes of the problems
	}{
		{
			"image's env",
			Inputs{Config: oci(t, ""), Image: func() *Image { i := nginx(); i.Env = []string{"A\tB =x"}; return i }()},
			[]string{`fledge.toml:1:1: manifest workload.env."A\tB ": the name "A\tB " begins or ends`},
		},
		{
			"image's argument",
			Inputs{Config: oci(t, ""), Image: func() *Image { i := nginx(); i.Cmd = []string{""}; return i }()},
			[]string{`fledge.toml:1:1: manifest workload.entrypoint[1]: "" would be dropped`},
		},
		{
			"flag",
			Inputs{Flags: &manifest.Manifest{Name: "a b"}, Config: oci(t, ""), Image: nginx()},
			[]string{`manifest name: "a b" does not fit`},
		},
		{
			"template url",
			Inputs{Config: oci(t, ""), Template: jsonTemplate(`{"rootfs":{"url":"file:///x"}}`), Image: nginx()},
			[]string{`m.json:1:18: manifest rootfs.url: "file:///x" installs`},
		},
		{
			"no name",
			Inputs{Config: oci(t, "\n[plugin]\nversion = \"1\"\n"), Image: func() *Image { i := nginx(); i.Name = ""; return i }()},
			[]string{`fledge.toml:5:1: manifest name: missing`},
		},
		{
			"image's name",
			Inputs{Config: oci(t, ""), Image: func() *Image { i := nginx(); i.Name = "_x"; return i }()},
			[]string{`fledge.toml:1:1: manifest name: "_x" does not fit`},
		},
		{
			"no configuration at all",
			Inputs{Image: func() *Image { i := nginx(); i.Name = "_x"; i.Env = nil; return i }()},
			[]string{`manifest name: "_x" does not fit`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := Merge(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			url := d.URL
			if url == "" {
				url = "/srv/x.img"
			}
			d.Manifest.Rootfs = &manifest.Rootfs{URL: url, Checksum: checksum, Format: "raw"}
			_, err = d.Check()
			if err == nil {
				t.Fatal("no problem found")
			}
			got := strings.Split(err.Error(), "\n")
			if len(got) != len(tt.want) {
				t.Fatalf("problems = %q", got)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}

func TestExplainNamesTheImagesPart(t *testing.T) {
	d, err := Merge(Inputs{Config: oci(t, ""), Image: nginx()})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"workload.entrypoint[2]":     `(from the image's ENTRYPOINT and CMD; set workload.entrypoint)`,
		"workload.env.NGINX_VERSION": `(from the image's ENV; set workload.env.NGINX_VERSION)`,
		"workload.base_url":          `(from the image's EXPOSE; set workload.base_url)`,
		"version":                    `(from the image's tag; set plugin.version)`,
		"runtime":                    `(from the default; set plugin.runtime)`,
		"resources.cpu_cores":        `(from the default; set resources.cpu_cores)`,
		"rootfs.url":                 `(from the default; set plugin.url)`,
		`labels."org.example/thing"`: `(from the default; set plugin.labels."org.example/thing")`,
	} {
		if got := d.Explain(manifest.Problem{Key: key, Message: "m", Fix: "f"}); !strings.HasSuffix(got.Message, want) {
			t.Errorf("%s: %s\nwant %s", key, got.Message, want)
		}
	}
}
