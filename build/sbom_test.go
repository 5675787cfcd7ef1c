package build

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/volant/fledge-action/build/sbom"
	"github.com/volant/fledge-action/internal/elftest"
	"github.com/volant/fledge-action/internal/ocitest"
)

// sbomProject is a project whose image has a package and a distribution.
func sbomProject(t *testing.T, toml string) Request {
	t.Helper()
	r := project(t, ocitest.Spec{Layers: []ocitest.Layer{{Entries: []ocitest.Entry{
		{Header: tar.Header{Name: "lib", Typeflag: tar.TypeSymlink, Linkname: "usr/lib"}},
		ocitest.File("usr/lib/apk/db/installed", "P:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\n"),
		ocitest.File("etc/os-release", "ID=alpine\nVERSION_ID=3.20.1\n"),
	}}}}, noAgent+toml)
	r.SBOM, r.Tool = sbom.SPDX, "1.2.3"
	return r
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSBOMListsImagePackagesAndFiles(t *testing.T) {
	r := sbomProject(t, "[mappings]\n\"site\" = \"/srv\"\n")
	writeFiles(t, r.WorkDir, map[string]string{"site/a": "a", "site/b": "b"})
	if err := os.Symlink("a", filepath.Join(r.WorkDir, "site/link")); err != nil {
		t.Fatal(err)
	}
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	s := result.SBOM
	if len(s.Document.Packages) != 1 || s.Document.Packages[0].PURL != "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1" {
		t.Errorf("packages %+v", s.Document.Packages)
	}
	id, err := sbom.Identify(bytes.NewReader(s.Data))
	if want := (sbom.Identity{Format: sbom.SPDX, Fledge: true, Artifact: result.Artifact.Digest}); id != want || err != nil {
		t.Errorf("%+v, %v", id, err)
	}
	if s.Digest != digestOf(s.Data) {
		t.Errorf("digest %s", s.Digest)
	}
	var doc struct {
		Files []struct{ FileName, Comment string }
	}
	if err := json.Unmarshal(s.Data, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Files) != 2 || doc.Files[1].FileName != "./srv/b" || doc.Files[1].Comment != `from "site/b" of the project` {
		t.Errorf("files %+v", doc.Files)
	}
	for _, want := range []string{`"GENERATED_FROM"`, `"pkg:oci/layout@sha256:`, `"created": "1980-01-01T00:00:00Z"`, `"Tool: fledge-1.2.3"`} {
		if !strings.Contains(string(s.Data), want) {
			t.Errorf("the document has no %s", want)
		}
	}
	if strings.Contains(string(s.Data), r.WorkDir) {
		t.Error("the document has a path of the host")
	}
	again, err := Build(t.Context(), r)
	if err != nil || !bytes.Equal(again.SBOM.Data, s.Data) {
		t.Errorf("the second build's differs: %v", err)
	}
}

func TestSBOMOfAnInitramfsListsWhatFledgeAdds(t *testing.T) {
	for _, test := range []struct {
		toml  string
		parts string
		file  string // "" for none
	}{
		{localAgent, "busybox  /bin/busybox|fledge-init 1.2.3 /init|kestrel  /bin/kestrel", ""},
		{"[init]\npath = \"my\"\n", "busybox  /bin/busybox|fledge-init 1.2.3 /init", "my"},
	} {
		r := initramfsProject(t, test.toml, map[string]string{"my": string(elftest.Program())})
		r.SBOM, r.Tool = sbom.CycloneDX, "1.2.3"
		result, err := Build(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, p := range result.SBOM.Document.Packages {
			parts = append(parts, p.Name+" "+p.Version+" "+strings.Join(p.Where, ","))
		}
		if got := strings.Join(parts, "|"); got != test.parts {
			t.Errorf("parts %s, want %s", got, test.parts)
		}
		data := string(result.SBOM.Data)
		if has := strings.Contains(data, `"name": "/sbin/init"`) && strings.Contains(data, `"value": "my"`); has != (test.file != "") {
			t.Errorf("%s: init is listed: %v", test.toml, has)
		}
	}
}

func TestSBOMStaysOutOfMappedFolders(t *testing.T) {
	r := sbomProject(t, "[plugin]\nname = \"p\"\n[mappings]\n\"out\" = \"/srv\"\n")
	r.Output = "out/p.img"
	writeFiles(t, r.WorkDir, map[string]string{"out/a": "a"})
	first, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range sbom.Formats {
		writeFiles(t, r.WorkDir, map[string]string{"out/p" + f.Extension(): string(first.SBOM.Data)})
	}
	again, err := Build(t.Context(), r)
	if err != nil || again.Artifact.Digest != first.Artifact.Digest {
		t.Errorf("%s, %v; want %s", again.Artifact.Digest, err, first.Artifact.Digest)
	}
}

func TestStaleSBOMIsWarnedAbout(t *testing.T) {
	r := sbomProject(t, "")
	result, err := Build(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	path := SBOMPath(result.Artifact.Path, sbom.SPDX)
	stale := func(w []string) bool {
		return strings.Contains(strings.Join(w, "\n"), path+" describes an earlier artifact")
	}
	if err := os.WriteFile(path, result.SBOM.Data, 0o644); err != nil {
		t.Fatal(err)
	}
	r.SBOM = ""
	if result, err = Build(t.Context(), r); err != nil || stale(result.Warnings) {
		t.Errorf("the same artifact: %q, %v", result.Warnings, err)
	}
	r.Config.Filesystem.SizeBufferMB = 99
	if result, err = Build(t.Context(), r); err != nil || !stale(result.Warnings) {
		t.Errorf("another artifact: %q, %v", result.Warnings, err)
	}
	r.SBOM = sbom.CycloneDX
	if result, err = Build(t.Context(), r); err != nil || !stale(result.Warnings) {
		t.Errorf("another format: %q, %v", result.Warnings, err)
	}
	r.SBOM = sbom.SPDX // which replaces it
	if result, err = Build(t.Context(), r); err != nil || stale(result.Warnings) {
		t.Errorf("replaced: %q, %v", result.Warnings, err)
	}
}

func TestSBOMReplacesOnlySBOMsOfFledge(t *testing.T) {
	r := sbomProject(t, "[plugin]\nname = \"p\"\n")
	for _, text := range []string{"mine", `{"spdxVersion":"SPDX-2.3","creationInfo":{"creators":["Tool: other"]}}`} {
		writeFiles(t, r.WorkDir, map[string]string{"p.spdx.json": text})
		if _, err := Build(t.Context(), r); err == nil || !strings.Contains(err.Error(), "fledge has not written it") {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := os.Stat(filepath.Join(r.WorkDir, "p.img")); err == nil {
			t.Error("an artifact was written")
		}
	}
	r.SBOM = "" // then it is none of the build's business
	if result, err := Build(t.Context(), r); err != nil || len(result.Warnings) > 1 {
		t.Errorf("%q, %v", result.Warnings, err)
	}
}

func TestStem(t *testing.T) {
	for in, want := range map[string]string{
		"a/web.img": "a/web", "web.cpio.gz": "web", "web.cpio.zst": "web", "web.cpio": "web", "web": "web", "web.gz": "web.gz",
		"a/.img": "a/.img", "web.img.cpio": "web.img", "web.1.2": "web.1.2",
	} {
		if got := Stem(in); got != want {
			t.Errorf("stem of %s is %s, want %s", in, got, want)
		}
	}
}
