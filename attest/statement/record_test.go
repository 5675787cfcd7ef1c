package statement

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fullRecord(t *testing.T) Record {
	t.Helper()
	image, err := ImageURI("docker.io/library/nginx", "sha256:"+hexOf("index"))
	if err != nil {
		t.Fatal(err)
	}
	of := func(s string) map[string]string { return map[string]string{"sha256": hexOf(s)} }
	return Record{
		Fledge: Program{Version: "v1.2.0", SHA256: hexOf("fledge")}, Config: File{"fledge.toml", hexOf("config")},
		Template: &File{"manifest.toml", hexOf("template")},
		Strategy: "oci_rootfs", Format: "ext4", Platform: "linux/amd64", Epoch: 1767225600, ContentDigest: "sha256:" + hexOf("content"),
		Options: map[string]string{"artifact_url": "https://example.com/a?b&c", "allow_unbootable": "true"},
		Dependencies: []Dependency{
			{Name: "image index", URI: image, Digest: of("index")},
			{Name: "image", URI: image, Digest: of("image")},
			{Name: "layer", Digest: of("layer 2")},
			{Name: "layer", Digest: of("layer 1")},
			{
				Name: "agent", URI: "https://github.com/volant/volant/releases/download/v0.9.0/kestrel", Digest: of("agent"), Version: "v0.9.0",
				Proof: "signed by https://github.com/volant/volant/.github/workflows/release.yml@refs/tags/v0.9.0",
			},
			{Name: "mappings", Digest: of("mappings")},
		},
	}
}

func smallRecord() Record {
	return Record{
		Fledge: Program{"dev", hexOf("fledge")}, Config: File{"fledge.toml", hexOf("config")},
		Strategy: "initramfs", Format: "cpio.gz", Platform: "linux/arm64",
	}
}

func TestRecordGolden(t *testing.T) {
	loop := smallRecord()
	loop.Strategy, loop.Format, loop.ContentDigest, loop.Unreproducible = "oci_rootfs", "xfs", "sha256:"+hexOf("content"), true
	for name, r := range map[string]Record{"full": fullRecord(t), "small": smallRecord(), "unreproducible": loop} {
		file, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "record-"+name+".json", file)
		s, err := Build(r, subjects())
		if err != nil {
			t.Fatal(err)
		}
		payload, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "build-"+name+".json", payload)
		for _, data := range [][]byte{file, s.Predicate} {
			got, err := DecodeRecord(data)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&r, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

func TestRecordIsReadOnlyAsItIsWritten(t *testing.T) {
	file, err := fullRecord(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ what, old, new, want string }{
		{"unknown key", `"epoch": `, `"epoc": 1, "epoch": `, `unknown field "epoc"`},
		{"key twice", `"epoch": `, `"epoch": 1, "epoch": `, `key "epoch" is repeated`},
		{"key in another case", `"epoch": `, `"Epoch": `, "not as fledge writes it"},
		{"another order", "\"strategy\": \"oci_rootfs\",\n      \"format\": \"ext4\"", `"format": "ext4", "strategy": "oci_rootfs"`, "not as fledge writes it"},
		{"escape", `"oci_rootfs"`, `"oci\u005frootfs"`, "not as fledge writes it"},
		{"number", `1767225600`, `1767225600.0`, "cannot unmarshal"},
		{"number with an exponent", `1767225600`, `17672256e2`, "cannot unmarshal"},
		{"null", `"linux/amd64"`, `null`, "platform"},
		{"negative epoch", `1767225600`, `-1`, "before 1970"},
		{"another build type", `buildtypes/plugin/v1`, `buildtypes/plugin/v2`, "buildType is"},
		{"another builder", `"id": "https://github.com/volant/fledge-action"`, `"id": "https://example.com"`, "not as fledge writes it"},
		{"another program", `"name": "fledge"`, `"name": "fledg"`, "not as fledge writes it"},
		{"a second version", `"fledge": "v1.2.0"`, `"fledge": "v1.2.0", "go": "1.26"`, "not as fledge writes it"},
		{"no version", `"fledge": "v1.2.0"`, ``, "fledge version"},
		{"empty annotations", `"name": "mappings"`, `"name": "mappings", "annotations": {}`, "not as fledge writes it"},
		{"digest of the config", hexOf("config"), "x" + hexOf("config")[1:], `config "fledge.toml": sha256`},
		{"second digest of the config", `"sha256": "` + hexOf("config") + `"`, `"sha256": "` + hexOf("config") + `", "sha1": "` + strings.Repeat("0", 40) + `"`, "not as fledge writes it"},
		{"digest of the template", hexOf("template"), "", `template "manifest.toml": sha256`},
		{"digest of a layer", hexOf("layer 1"), strings.ToUpper(hexOf("layer 1")), `dependency 3 ("layer"): sha256`},
		{"user in a URI", `https://github.com/volant/volant/releases`, `https://u:p@github.com/volant/volant/releases`, "user or password"},
		{"URI of a file", `https://github.com/volant/volant/releases`, `file:///home/volant/releases`, "none of https://"},
		{"line in a proof", `signed by`, `signed\nby`, "proof is not printable"},
		{"option with a tab", `"true"`, `"\ttrue"`, "option"},
		{"content digest of another kind", `"sha256:` + hexOf("content"), `"sha512:` + hexOf("content"), "content digest"},
		{"content digest cut", hexOf("content"), hexOf("content")[1:], "content digest"},
		{"content digest of blanks", `"sha256:` + hexOf("content") + `"`, `" "`, "content digest"},
		{"empty content digest", `"sha256:` + hexOf("content") + `"`, `""`, "not as fledge writes it"},
		{"reproducible, which goes without saying", `"epoch": 1767225600,`, `"epoch": 1767225600, "reproducible": true,`, "not as fledge writes it"},
		{"reproducible is a word", `"epoch": 1767225600,`, `"epoch": 1767225600, "reproducible": "false",`, "cannot unmarshal"},
		{"end", "\n}\n", "", "unexpected end"},
		{"text behind it", "\n}\n", "\n}\n1", "after top-level value"},
		{"array", string(file), `[]`, "not a JSON object"},
	}
	for _, test := range tests {
		if !strings.Contains(string(file), test.old) {
			t.Fatalf("%s: %q is not in the record", test.what, test.old)
		}
		_, err := DecodeRecord([]byte(strings.Replace(string(file), test.old, test.new, 1)))
		refused(t, test.what, err, "decoding build record: ", test.want)
		if err != nil && (strings.Contains(err.Error(), "u:p@") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

func TestRecordsAreLimited(t *testing.T) {
	r := smallRecord()
	for range MaxDependencies {
		r.Dependencies = append(r.Dependencies, Dependency{Name: "layer", Digest: map[string]string{"sha256": hexOf("x")}})
	}
	r.Options = map[string]string{}
	for i := range maxOptions {
		r.Options[fmt.Sprint(i)] = strings.Repeat("x", 4096)
	}
	file, err := r.Encode()
	if err != nil {
		t.Fatalf("at the limits: %v", err)
	}
	if _, err := DecodeRecord(file); err != nil {
		t.Errorf("at the limits: %v", err)
	}
	file = append(file, bytes.Repeat([]byte(" "), MaxRecord-len(file))...)
	if _, err := DecodeRecord(file); err != nil {
		t.Errorf("at the limit of bytes: %v", err)
	}
	_, err = DecodeRecord(append(file, ' '))
	refused(t, "bytes", err, "4194305 bytes", "limit of 4194304")

	more := r
	more.Dependencies = append(r.Dependencies[:MaxDependencies:MaxDependencies], r.Dependencies[0])
	_, err = more.Encode()
	refused(t, "dependencies", err, "4097 dependencies", "limit of 4096")
	more = r
	more.Dependencies = bytesOf(r.Dependencies)
	_, err = more.Encode()
	refused(t, "bytes to write", err, "limit of 4194304")
	r.Options["more"] = ""
	_, err = r.Encode()
	refused(t, "options", err, "257 options", "limit of 256")
}

// bytesOf makes dependencies that are too long together.
func bytesOf(dependencies []Dependency) []Dependency {
	var long []Dependency
	for _, d := range dependencies {
		d.Proof = strings.Repeat("x", 1000)
		long = append(long, d)
	}
	return long
}

func TestRecordHasTheShapeOfProvenance(t *testing.T) {
	s, err := Build(fullRecord(t), subjects())
	if err != nil {
		t.Fatal(err)
	}
	var p struct {
		BuildDefinition struct {
			BuildType            string
			ExternalParameters   map[string]any
			InternalParameters   map[string]any
			ResolvedDependencies []struct {
				URI, Name   string
				Digest      map[string]string
				Annotations map[string]any
			}
		}
		RunDetails struct {
			Builder struct {
				ID                  string
				Version             map[string]string
				BuilderDependencies []struct {
					Name   string
					Digest map[string]string
				}
			}
			Metadata map[string]any
		}
	}
	d := json.NewDecoder(bytes.NewReader(s.Predicate))
	d.DisallowUnknownFields() // fields of SLSA provenance v1 alone
	if err := d.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.RunDetails.Builder.Version["fledge"] != "v1.2.0" || p.RunDetails.Builder.BuilderDependencies[0].Digest["sha256"] != hexOf("fledge") {
		t.Errorf("%+v", p.RunDetails.Builder)
	}
	if p.RunDetails.Metadata != nil {
		t.Errorf("metadata %v: a rebuild would have other ones", p.RunDetails.Metadata)
	}
	if got := p.BuildDefinition.ResolvedDependencies; len(got) != 6 || got[3].Digest["sha256"] != hexOf("layer 1") {
		t.Errorf("dependencies in another order: %+v", got)
	}
}

func TestImageURI(t *testing.T) {
	digest := "sha256:" + hexOf("x")
	for repository, want := range map[string]string{
		"docker.io/library/nginx":     "pkg:oci/nginx@sha256:" + hexOf("x") + "?repository_url=docker.io/library/nginx",
		"localhost:5000/team/app_1.x": "pkg:oci/app_1.x@sha256:" + hexOf("x") + "?repository_url=localhost:5000/team/app_1.x",
		"[::1]:5000/app":              "pkg:oci/app@sha256:" + hexOf("x") + "?repository_url=%5B::1%5D:5000/app",
	} {
		got, err := ImageURI(repository, digest)
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", repository, got, err)
		}
		if err := checkURI(got); err != nil {
			t.Error(err)
		}
	}
	for _, repository := range []string{"", "nginx", "docker.io/", "docker.io/nginx:1", "docker.io/nginx@" + digest, "docker.io/Nginx", "docker.io/a\nb/nginx"} {
		_, err := ImageURI(repository, digest)
		refused(t, repository, err, "naming image")
	}
	for _, digest := range []string{"", hexOf("x"), "sha512:" + hexOf("x"), "sha256:" + hexOf("x")[1:], strings.ToUpper(digest)} {
		_, err := ImageURI("docker.io/library/nginx", digest)
		refused(t, digest, err, "64 lower-case hex digits")
	}
}

func TestDependencyURIs(t *testing.T) {
	for _, uri := range []string{"", "https://example.com", "http://127.0.0.1:1/x", "git+https://github.com/acme/web@refs/tags/v1", "pkg:generic/busybox@1.36.1?checksum=x", "pkg:golang/github.com/acme/web@v1"} {
		if err := checkURI(uri); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
	for _, uri := range []string{"/etc/passwd", ".", "x", "file:x", "https://", "https:x", "pkg:", "pkg:oci", "pkg:/oci", "pkg://oci/x", "oci://x/y", "https://e\x01", "https://a b", "git+ssh://x/y"} {
		refused(t, uri, checkURI(uri), "uri")
	}
}

func TestRecordOfOtherBytesNeedsTheContentDigest(t *testing.T) {
	r := smallRecord()
	r.Unreproducible = true
	if _, err := r.Encode(); err == nil || !strings.Contains(err.Error(), "no content digest") {
		t.Errorf("got %v", err)
	}
}

func TestRecordsOfOlderVersionsAreRead(t *testing.T) {
	r := fullRecord(t)
	r.ContentDigest = ""
	file, err := r.Encode()
	if err != nil || strings.Contains(string(file), "contentDigest") || strings.Contains(string(file), "reproducible") {
		t.Fatalf("%s, %v", file, err)
	}
	got, err := DecodeRecord(file)
	if err != nil || got.ContentDigest != "" || got.Unreproducible {
		t.Errorf("got %+v, %v", got, err)
	}
}
