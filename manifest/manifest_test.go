package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/volant/fledge-action/internal/testneed"
)

var update = flag.Bool("update", false, "rewrite golden files")

const digest = "sha256:6e123e7f3202a8c1e9b1f94d8941580a25135382b99e8d3e34fb858bba311348"

// nginx is a manifest without a problem; tests spoil one part of it.
func nginx() *Manifest {
	return &Manifest{
		SchemaVersion: SchemaVersion,
		Name:          "nginx",
		Version:       "1.27.2",
		Runtime:       "nginx",
		Enabled:       true,
		Image:         "docker.io/library/nginx:1.27.2",
		ImageDigest:   digest,
		Rootfs:        &Rootfs{URL: "https://example.com/v1/nginx.img", Checksum: digest, Format: "raw"},
		Resources:     Resources{CPUCores: 2, MemoryMB: 1024},
		Workload: Workload{
			Type:       WorkloadHTTP,
			Entrypoint: []string{"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"},
			BaseURL:    "http://127.0.0.1:80",
			Env:        map[string]string{"PATH": "/usr/sbin:/usr/bin", "B": "<1&2>", "A": ""},
			Workdir:    "/",
		},
		HealthCheck: &HealthCheck{Endpoint: "/", TimeoutMS: 10000},
	}
}

// full has every key.
func full() *Manifest {
	m := nginx()
	m.Schema = "https://example.com/schema.json"
	m.Network = &Network{Mode: "bridged", Subnet: "10.0.0.0/24", Gateway: "10.0.0.1", AutoAssign: true}
	m.Actions = map[string]Action{
		"reload": {Description: "reload", Method: "POST", Path: "/reload", TimeoutMS: 500},
		"check":  {Method: "GET", Path: "/check"},
	}
	m.Labels = map[string]string{"z": "1", "a.b/c": "2"}
	m.OpenAPI = "/openapi.json"
	m.Disks = []Disk{{Name: "data", Source: "/srv/data.img", Checksum: digest, Format: "qcow2", Readonly: true, Target: "vdb"}}
	m.CloudInit = &CloudInit{
		Datasource: "NoCloud", SeedMode: "vfat",
		UserData:      &Document{Inline: true, Content: "#cloud-config\n"},
		MetaData:      &Document{Path: "meta.yaml"},
		NetworkConfig: &Document{Path: "net.yaml"},
	}
	m.Devices = &Devices{PCIPassthrough: []string{"0000:01:00.0"}, Allowlist: []string{"10de:2204"}}
	return m
}

func TestEncodeMatchesTheGoldenFile(t *testing.T) {
	got, err := full().Encode()
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/full.json.golden"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the canonical form changed (-want +got):\n%s", diff)
	}
}

func TestEncodeIsByteForByteWhatThePackagePromises(t *testing.T) {
	m := &Manifest{SchemaVersion: "1.0", Name: "n", Version: "<&>", Runtime: "n"}
	m.Workload.Env = map[string]string{"b": "2", "a": "1"}
	got, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "schema_version": "1.0",
  "name": "n",
  "version": "<&>",
  "runtime": "n",
  "enabled": false,
  "resources": {
    "cpu_cores": 0,
    "memory_mb": 0
  },
  "workload": {
    "type": "",
    "entrypoint": [],
    "base_url": "",
    "env": {
      "a": "1",
      "b": "2"
    }
  }
}
`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEncodeRefusesTextThatJSONCannotHold(t *testing.T) {
	m := nginx()
	m.Workload.Env["X"] = "a\xff"
	_, err := m.Encode()
	if err == nil || !strings.Contains(err.Error(), "workload.env.X") {
		t.Errorf("error = %v, want one that names workload.env.X", err)
	}
}

func TestDecodeReturnsWhatWasEncoded(t *testing.T) {
	for _, want := range []*Manifest{nginx(), full(), {}} {
		data, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestDecodeNamesEveryProblem(t *testing.T) {
	tests := []struct {
		name, in string
		want     []string // errors, in order
	}{
		{"unknown key", `{"nmae":"x"}`, []string{`1:2: unknown key "nmae"`}},
		{"unknown inner key", "{\n  \"workload\": {\"args\": [{\"a\":[1]}], \"type\":\"http\"}}", []string{`2:16: unknown key "workload.args"`}},
		{"other case", `{"Name":"x"}`, []string{`1:2: unknown key "Name"`}},
		{"repeated key", `{"name":"x","name":"y"}`, []string{`1:13: key "name" is repeated`}},
		{"repeated map key", `{"labels":{"a b":"x","a b":"y"}}`, []string{`1:22: key "labels.\"a b\"" is repeated`}},
		{"repeated through an escape", `{"name":"x","n\u0061me":"y"}`, []string{`1:13: key "name" is repeated`}},
		{"null", `{"labels":null}`, []string{`1:11: "labels" is null, want an object`}},
		{"string for array", `{"workload":{"entrypoint":"/x"}}`, []string{`1:27: "workload.entrypoint" is a string, want an array`}},
		{"number in array", `{"workload":{"entrypoint":["/x", 7]}}`, []string{`1:34: "workload.entrypoint[1]" is the number 7, want a string`}},
		{"fraction", `{"resources":{"cpu_cores":1.5}}`, []string{`1:27: "resources.cpu_cores" is the number 1.5, want a whole number`}},
		{"too large", `{"resources":{"cpu_cores":99999999999999999999}}`, []string{`1:27: "resources.cpu_cores" is the number 99999999999999999999, want a whole number`}},
		{"array for object", `{"workload":[1,[2]],"enabled":"yes"}`, []string{`1:13: "workload" is an array, want an object`, `1:31: "enabled" is a string, want true or false`}},
		{"not an object", `[]`, []string{`1:1: the manifest is an array, want an object`}},
		{"several", "{\"a\":1,\n\"é\":1, \"b\":2}", []string{`1:2: unknown key "a"`, `2:1: unknown key "\"é\""`, `2:8: unknown key "b"`}},
		{"trailing data", "{}\n{}", []string{"2:1: invalid character '{' after top-level value"}},
		{"trailing comma", `{"name":"x",}`, []string{"1:13: invalid character '}' looking for beginning of object key string"}},
		{"empty", ``, []string{"1:1: unexpected end of JSON input"}},
		{"cut", `{"name":`, []string{"1:8: unexpected end of JSON input"}},
		{"not UTF-8", "{\"name\":\"\xff\"}", []string{"1:10: not UTF-8"}},
		{"deep", strings.Repeat("[", 20000), []string{"1:10001: invalid character '[' exceeded max depth"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Decode(strings.NewReader(tt.in))
			if err == nil {
				t.Fatalf("decoded to %+v, want an error", m)
			}
			if got := strings.Split(err.Error(), "\n"); !cmp.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			var de *DecodeError
			if !errors.As(err, &de) {
				t.Errorf("%T is not a *DecodeError", err)
			}
		})
	}
}

func TestDecodeTellsOfMaxProblemsAndNoMore(t *testing.T) {
	for n, want := range map[int]int{MaxProblems - 1: MaxProblems - 1, MaxProblems: MaxProblems, MaxProblems + 1: MaxProblems, 50000: MaxProblems} {
		_, err := Decode(strings.NewReader("{" + strings.Repeat(`"x":1,`, n-1) + `"name":1}`)) // unknown or repeated
		list, ok := err.(interface{ Unwrap() []error })
		if !ok || len(list.Unwrap()) != want {
			t.Errorf("%d problems: %v", n, err)
		}
	}
}

func TestDecodeReadsMaxSizeBytesAndNoMore(t *testing.T) {
	const frame = `{"name":""}`
	largest := strings.Replace(frame, `""`, `"`+strings.Repeat("n", MaxSize-len(frame))+`"`, 1)
	if len(largest) != MaxSize {
		t.Fatalf("the test's text has %d bytes", len(largest))
	}
	if _, err := Decode(strings.NewReader(largest)); err != nil {
		t.Errorf("%d bytes: %v", MaxSize, err)
	}
	if _, err := Decode(strings.NewReader(largest + "\n")); err == nil {
		t.Errorf("%d bytes were read", MaxSize+1)
	}
}

func TestDecodePassesOnReadErrors(t *testing.T) {
	broken := errors.New("broken")
	if _, err := Decode(&failing{broken}); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// The published schema is the second opinion on names, types and required keys.
func TestEncodedManifestsMatchThePublishedSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(testneed.Data(t, "volant-plugin-manifest-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	valid := func(m *Manifest) error {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	ram := full()
	ram.Rootfs, ram.Initramfs = nil, &Initramfs{URL: "/srv/p.cpio.gz", Checksum: digest}
	bare := nginx()
	bare.HealthCheck, bare.Workload.Env = nil, nil
	for _, m := range []*Manifest{nginx(), full(), ram, bare} {
		if err := valid(m); err != nil {
			t.Error(err)
		}
	}
	both := nginx()
	both.Initramfs = &Initramfs{URL: "/x"}
	if valid(both) == nil || valid(&Manifest{}) == nil {
		t.Error("the schema accepts a manifest without or with two artifacts: it checks nothing here")
	}
}

// Every property of the schema is a field of ours and the other way round.
func TestFieldsAreThoseOfThePublishedSchema(t *testing.T) {
	data, err := os.ReadFile(testneed.Data(t, "volant-plugin-manifest-v1.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		t.Fatal(err)
	}
	m := full()
	m.Initramfs = &Initramfs{URL: "/x"}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var ours map[string]json.RawMessage
	if err := json.Unmarshal(text, &ours); err != nil {
		t.Fatal(err)
	}
	for name := range schema.Properties {
		if _, ok := ours[name]; !ok {
			t.Errorf("the schema's %q is no field", name)
		}
		delete(ours, name)
	}
	for name := range ours {
		t.Errorf("the schema has no %q", name)
	}
}

func TestSplitKeyInvertsJoinKey(t *testing.T) {
	tests := []struct {
		path []string
		want string
	}{
		{[]string{"name"}, "name"},
		{[]string{"workload", "env", "A B"}, `workload.env."A B"`},
		{[]string{"labels", "org.x/y"}, `labels."org.x/y"`},
		{[]string{"disks", "[1]", "name"}, "disks[1].name"},
		{[]string{"a", "[0]", "[2]"}, "a[0][2]"},
		{[]string{"labels", "", `q"\`}, `labels.""."q\"\\"`},
		{[]string{"labels", "[x]"}, `labels."[x]"`},
		{[]string{"$schema"}, "$schema"},
	}
	for _, tt := range tests {
		if got := JoinKey(tt.path...); got != tt.want {
			t.Errorf("JoinKey(%q) = %s, want %s", tt.path, got, tt.want)
		}
		if got := SplitKey(tt.want); !cmp.Equal(got, tt.path) {
			t.Errorf("SplitKey(%s) = %q, want %q", tt.want, got, tt.path)
		}
	}
}

var fuzzSeeds = []*Manifest{nginx(), full(), {}}

func FuzzManifest(f *testing.F) {
	for _, m := range fuzzSeeds {
		data, err := m.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"labels":{},"workload":{"env":{},"entrypoint":[]},"devices":{"allowlist":[]},"disks":[],"network":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		_ = m.Validate()
		_ = Places(data)
		text, err := m.Encode()
		if err != nil {
			t.Fatalf("decoded, but: %v", err)
		}
		if len(text) > MaxSize {
			return // indented, it may pass the bound that the input kept
		}
		again, err := Decode(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("encoded, but: %v\n%s", err, text)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Fatalf("decoding again differs (-first +again):\n%s", diff)
		}
		if text2, _ := again.Encode(); !bytes.Equal(text, text2) {
			t.Fatalf("encoding again differs:\n%s\n%s", text, text2)
		}
	})
}

func TestFuzzSeedsReachTheEncoder(t *testing.T) {
	for i, m := range fuzzSeeds {
		data, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(bytes.NewReader(data)); err != nil {
			t.Errorf("seed %d stops at the decoder: %v", i, err)
		}
	}
}

func TestPlacesAreThoseOfTheValues(t *testing.T) {
	text := "{\"name\": \"ä\", \"version\" : \"1\",\n \"labels\": {\"a.b\":\n\"x\"},\n\t\"disks\": [{\"name\": \"d\"},\n  {\"name\": \"é\", \"source\": \"/s\"}]}"
	if _, err := Decode(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	want := map[string]Place{
		"": {1, 1}, "name": {1, 10}, "version": {1, 27}, "labels": {2, 12}, `labels."a.b"`: {3, 1}, "disks": {4, 11},
		"disks[0]": {4, 12}, "disks[0].name": {4, 21}, "disks[1]": {5, 3}, "disks[1].name": {5, 12}, "disks[1].source": {5, 27},
	}
	if diff := cmp.Diff(want, Places([]byte(text))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
