package merge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/volant/fledge-action/attest/statement"
	"github.com/volant/fledge-action/internal/bundletest"
	"github.com/volant/fledge-action/internal/testneed"
	"github.com/volant/fledge-action/manifest"
)

func sha(data string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(data))) }

func write1(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sums(files map[string]string) string {
	var subjects []statement.Subject
	for name, data := range files {
		subjects = append(subjects, statement.Subject{Name: name, Digest: map[string]string{"sha256": sha(data)}})
	}
	return string(statement.Sums(subjects))
}

// built makes the folder of a build of a plugin with an artifact, and returns its files.
func built(t *testing.T, dir, plugin, artifact string) map[string]string {
	t.Helper()
	image := "image of " + plugin
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Name: plugin, Version: "1.2.3", Runtime: plugin, Enabled: true,
		Rootfs:    &manifest.Rootfs{URL: "https://x.example/" + artifact, Checksum: "sha256:" + sha(image), Format: "raw"},
		Resources: manifest.Resources{CPUCores: 1, MemoryMB: 64},
		Workload:  manifest.Workload{Type: "http", Entrypoint: []string{"/web"}, BaseURL: "http://127.0.0.1:80"},
	}
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	rec, err := statement.Record{
		Fledge: statement.Program{Version: "v1", SHA256: sha("fledge")}, Config: statement.File{Name: "fledge.toml", SHA256: sha("toml")},
		Strategy: "oci_rootfs", Format: "ext4", Platform: "linux/amd64", Epoch: 1,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	stem := strings.TrimSuffix(strings.TrimSuffix(artifact, ".img"), ".cpio.gz")
	files := map[string]string{
		artifact: image, "manifest.json": string(text), stem + ".build.json": string(rec),
		stem + ".spdx.json": `{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT"}`,
	}
	files["SHA256SUMS"] = sums(files)
	for name, data := range files {
		write1(t, filepath.Join(dir, name), data)
	}
	return files
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// contents are the bytes of all files of a folder.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range strings.Fields(names(t, dir)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s\n", name, sha(string(data)))
	}
	return b.String()
}

func merged(t *testing.T, folders []string, dir string) *Result {
	t.Helper()
	r, err := Merge(t.Context(), folders, dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const bothFiles = ".fledge-merged SHA256SUMS db.build.json db.cpio.gz db.manifest.json db.spdx.json web.build.json web.img web.manifest.json web.spdx.json"

func TestPluginsAreMergedWithAllTheirFiles(t *testing.T) {
	testneed.Tool(t, "sha256sum")
	for how, link1 := range map[string]func(string, string) error{"links": os.Link, "copies": func(string, string) error { return syscall.EXDEV }} {
		t.Run(how, func(t *testing.T) {
			link = link1
			defer func() { link = os.Link }()
			dir := t.TempDir()
			web, db := filepath.Join(dir, "web"), filepath.Join(dir, "db")
			files := built(t, web, "web", "web.img")
			built(t, db, "db", "db.cpio.gz")
			out := filepath.Join(dir, "out", "release")
			r := merged(t, []string{web, db}, out)
			if got := names(t, out); got != bothFiles {
				t.Errorf("the folder holds %s", got)
			}
			cmd := exec.Command("sha256sum", "--strict", "-c", "SHA256SUMS")
			cmd.Dir = out
			if said, err := cmd.CombinedOutput(); err != nil || strings.Count(string(said), ": OK\n") != 8 {
				t.Errorf("%v\n%s", err, said)
			}
			got, _ := os.ReadFile(filepath.Join(out, "web.manifest.json"))
			if string(got) != files["manifest.json"] {
				t.Errorf("the manifest has other bytes")
			}
			a, _ := os.Stat(filepath.Join(web, "web.img"))
			b, _ := os.Stat(filepath.Join(out, "web.img"))
			if os.SameFile(a, b) != (how == "links") {
				t.Errorf("web.img is the same file: %v", os.SameFile(a, b))
			}
			if info, _ := os.Stat(out); info.Mode().Perm() != 0o755 {
				t.Errorf("the folder has mode %v", info.Mode())
			}
			text, _ := json.Marshal(r.Plugins[1].Files[:2])
			want := fmt.Sprintf(`[{"name":"web.img","path":%q,"size":12,"sha256":%q,"role":"artifact"},{"name":"web.manifest.json","path":%q,"size":%d,"sha256":%q,"role":"manifest"}]`,
				filepath.Join(out, "web.img"), sha("image of web"), filepath.Join(out, "web.manifest.json"), len(files["manifest.json"]), sha(files["manifest.json"]))
			if string(text) != want {
				t.Errorf("got  %s\nwant %s", text, want)
			}
			if p := r.Plugins[0]; p.Name != "db" || p.Version != "1.2.3" || p.Platform != "linux/amd64" || p.URL != "https://x.example/db.cpio.gz" || p.Folder != db || len(r.Warnings) > 0 {
				t.Errorf("%+v, warnings %q", p, r.Warnings)
			}
			if n := len(r.Paths()); n != 9 {
				t.Errorf("%d paths", n)
			}
		})
	}
}

func TestOnePluginKeepsItsNamesAndChecksums(t *testing.T) {
	dir := t.TempDir()
	files := built(t, filepath.Join(dir, "web"), "web", "web.img")
	merged(t, []string{filepath.Join(dir, "web")}, filepath.Join(dir, "out"))
	if got := names(t, filepath.Join(dir, "out")); got != ".fledge-merged SHA256SUMS manifest.json web.build.json web.img web.spdx.json" {
		t.Errorf("the folder holds %s", got)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "out", "SHA256SUMS")); string(got) != files["SHA256SUMS"] {
		t.Errorf("SHA256SUMS is\n%s, want\n%s", got, files["SHA256SUMS"])
	}
}

func TestPluginsOfAPlainBuildAreMerged(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		built(t, filepath.Join(dir, "in", name), name, name+".img")
		for _, gone := range []string{"SHA256SUMS", name + ".spdx.json", name + ".build.json"} {
			os.Remove(filepath.Join(dir, "in", name, gone))
		}
	}
	merged(t, []string{filepath.Join(dir, "in")}, filepath.Join(dir, "out"))
	if got := names(t, filepath.Join(dir, "out")); got != ".fledge-merged SHA256SUMS a.img a.manifest.json b.img b.manifest.json" {
		t.Errorf("the folder holds %s", got)
	}
}

func TestFoldersAreFoundBelow(t *testing.T) {
	dir := t.TempDir()
	built(t, filepath.Join(dir, "dist", "web"), "web", "web.img")
	built(t, filepath.Join(dir, "dist", "more", "deep", "db"), "db", "db.cpio.gz")
	built(t, filepath.Join(dir, "dist", ".hidden"), "hidden", "hidden.img")
	built(t, filepath.Join(dir, "elsewhere"), "linked", "linked.img")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "dist", "link")); err != nil {
		t.Fatal(err)
	}
	write1(t, filepath.Join(dir, "dist", "half", "x.img"), "x")
	write1(t, filepath.Join(dir, "dist", "web", "notes\n.txt"), "x")
	write1(t, filepath.Join(dir, "dist", "web", "web.boot.json"), "{}") // of a boot test: not taken, without a word
	write1(t, filepath.Join(dir, "dist", "web", "sub", "manifest.json"), "{}")
	dist := filepath.Join(dir, "dist")
	out := filepath.Join(dist, "release") // below what is looked through
	r := merged(t, []string{dist}, out)
	if got := names(t, out); got != bothFiles {
		t.Errorf("the folder holds %s", got)
	}
	want := []string{
		"not taken, for want of a manifest.json: " + dist + ", " + filepath.Join(dist, "half"),
		filepath.Join(dist, "web") + `: not of the plugin and not taken: "notes\n.txt", sub`,
	}
	if !slices.Equal(r.Warnings, want) {
		t.Errorf("warnings\n%q, want\n%q", r.Warnings, want)
	}
	// The order and number of times in which folders are named changes nothing.
	before := contents(t, out)
	deep := filepath.Join(dist, "more")
	for _, folders := range [][]string{{dist}, {deep, dist}, {dist, deep, deep}, {filepath.Join(dist, "web"), deep}} {
		again := merged(t, folders, out)
		if contents(t, out) != before || again.Plugins[0].Name != "db" || len(again.Plugins) != 2 {
			t.Errorf("%q: %+v", folders, again.Plugins)
		}
	}
}

func TestARerunGivesTheSame(t *testing.T) {
	dir := t.TempDir()
	web, db, out := filepath.Join(dir, "web"), filepath.Join(dir, "db"), filepath.Join(dir, "out")
	built(t, web, "web", "web.img")
	built(t, db, "db", "db.cpio.gz")
	first := merged(t, []string{web, db}, out)
	before := contents(t, out)
	// What was signed there since stays, for all is as it was.
	write1(t, filepath.Join(out, "web.sigstore.json"), "signed")
	again := merged(t, []string{web, db}, out)
	if fmt.Sprint(first) != fmt.Sprint(again) || !strings.Contains(names(t, out), "web.sigstore.json") {
		t.Errorf("%v, then %v; %s", first, again, names(t, out))
	}
	// A changed file is put right, and what was signed about other files goes.
	write1(t, filepath.Join(out, "web.img"), "IMAGE OF web")
	merged(t, []string{web, db}, out)
	if got := contents(t, out); got != before {
		t.Errorf("got\n%s, want\n%s", got, before)
	}
	merged(t, []string{db}, out)
	if got := names(t, out); got != ".fledge-merged SHA256SUMS db.build.json db.cpio.gz db.spdx.json manifest.json" {
		t.Errorf("the folder holds %s", got)
	}
	if got := names(t, dir); got != "db out web" {
		t.Errorf("beside it: %s", got)
	}
}

func TestOnlyAMergedFolderIsReplaced(t *testing.T) {
	dir := t.TempDir()
	web := filepath.Join(dir, "web")
	built(t, web, "web", "web.img")
	tests := map[string]struct {
		make func(out string)
		want string // "" if it is replaced
	}{
		"nothing":            {func(string) {}, ""},
		"an empty folder":    {func(out string) { os.Mkdir(out, 0o755) }, ""},
		"a build's folder":   {func(out string) { built(t, out, "db", "db.img") }, "it has files, and no earlier merge has made it"},
		"a file":             {func(out string) { write1(t, out, "x") }, "it exists and is not a folder"},
		"a link to a folder": {func(out string) { os.Symlink(web, out) }, "it exists and is not a folder"},
		"somebody's notes in it": {func(out string) {
			merged(t, []string{web}, out)
			write1(t, filepath.Join(out, "notes.txt"), "x")
		}, "notes.txt in it is not of an earlier merge"},
		"a folder in it": {func(out string) {
			merged(t, []string{web}, out)
			os.MkdirAll(filepath.Join(out, "web.sigstore.json"), 0o755)
		}, "web.sigstore.json in it is not of an earlier merge"},
		"no checksums in it": {func(out string) { write1(t, filepath.Join(out, Mark), markText) }, "SHA256SUMS: no such file"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			tt.make(out)
			before := names(t, out)
			_, err := Merge(t.Context(), []string{web}, out)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var usage *UsageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := names(t, out); got != before {
				t.Errorf("left %s, before %s", got, before)
			}
		})
	}
	for _, bad := range []string{".", "..", "/", "x/.."} {
		if _, err := Merge(t.Context(), []string{web}, bad); err == nil || !strings.Contains(err.Error(), "name a folder of its own") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// bundle signs a statement about a text.
func bundle(t *testing.T, name, text string) string {
	t.Helper()
	st, err := statement.Provenance(bundletest.Claims(), []statement.Subject{{Name: name, Digest: map[string]string{"sha256": sha(text)}}})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key := bundletest.NewKey(t)
	return string(key.Sign(t, payload, key.Hint))
}

func TestBundlesAreTakenAndNotInTheChecksums(t *testing.T) {
	dir := t.TempDir()
	built(t, filepath.Join(dir, "web"), "web", "web.img")
	b := bundle(t, "web.img", "image of web")
	write1(t, filepath.Join(dir, "web", "web.sigstore.json"), b)
	write1(t, filepath.Join(dir, "web", "web.intoto.jsonl"), bundle(t, "x", "y")+"\n"+b+"\n")
	built(t, filepath.Join(dir, "db"), "db", "db.img")
	out := filepath.Join(dir, "out")
	merged(t, []string{filepath.Join(dir, "web"), filepath.Join(dir, "db")}, out)
	got, _ := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if n := names(t, out); !strings.Contains(n, "web.intoto.jsonl web.manifest.json web.sigstore.json") || strings.Contains(string(got), "sigstore") || strings.Contains(string(got), "intoto") {
		t.Errorf("the folder holds %s, checksums\n%s", n, got)
	}
}

func TestMergeRefuses(t *testing.T) {
	type change func(web string, files map[string]string)
	put := func(name, data string) change {
		return func(web string, _ map[string]string) { write1(t, filepath.Join(web, name), data) }
	}
	relist := func(web string, files map[string]string) {
		delete(files, "SHA256SUMS")
		write1(t, filepath.Join(web, "SHA256SUMS"), sums(files))
	}
	special := func(name string, mk func(path string) error) change {
		return func(web string, _ map[string]string) {
			path := filepath.Join(web, name)
			os.Remove(path)
			if err := mk(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	write1(t, secret, "secret")
	toSecret := func(path string) error { return os.Symlink(secret, path) }
	fifo := func(path string) error { return syscall.Mkfifo(path, 0o600) }
	tests := map[string]struct {
		change change
		want   string
	}{
		"a changed artifact": {put("web.img", "other"), `manifest.json is about an artifact with checksum "sha256:` + sha("image of web") + `", but web.img has "sha256:` + sha("other")},
		"no artifact":        {func(web string, _ map[string]string) { os.Remove(filepath.Join(web, "web.img")) }, "the artifact is not there"},
		"two that could be it": {func(web string, _ map[string]string) {
			os.Rename(filepath.Join(web, "web.img"), filepath.Join(web, "x.img"))
			write1(t, filepath.Join(web, "y.img"), "y")
		}, "could each be the artifact"},
		"an empty artifact":                {put("web.img", ""), "web.img is empty"},
		"a manifest that is none":          {put("manifest.json", "{"), "manifest.json: 1:"},
		"one that Volant refuses":          {put("manifest.json", `{"name": "web"}`), "manifest.json: Volant would refuse it"},
		"a huge manifest":                  {put("manifest.json", strings.Repeat(" ", manifest.MaxSize+1)), "more than the limit of"},
		"a changed SBOM":                   {put("web.spdx.json", `{"spdxVersion": "SPDX-2.3"}`), "SHA256SUMS says "},
		"an SBOM that is none":             {put("web.spdx.json", "{}"), "web.spdx.json: reading SBOM"},
		"an SBOM of another artifact":      {put("web.spdx.json", `{"spdxVersion": "SPDX-2.3", "creationInfo": {"creators": ["Tool: fledge-1"]}, "packages": [{"SPDXID": "SPDXRef-Artifact", "checksums": [{"algorithm": "SHA256", "checksumValue": "`+sha("x")+`"}]}]}`), "is about another artifact"},
		"two SBOMs":                        {put("web.cdx.json", `{"bomFormat": "CycloneDX"}`), "web.spdx.json and web.cdx.json are both there"},
		"a record that is none":            {put("web.build.json", "{}"), "web.build.json: decoding build record"},
		"checksums that are none":          {put("SHA256SUMS", "?\n"), "SHA256SUMS: reading checksums: line 1"},
		"huge checksums":                   {put("SHA256SUMS", strings.Repeat("x", statement.MaxSums+1)), "SHA256SUMS: more than the limit of 1048576 bytes"},
		"checksums of a file that is gone": {func(web string, files map[string]string) { files["gone"] = "x"; relist(web, files) }, "SHA256SUMS lists gone, which is not there"},
		"checksums of a further file that changed": {func(web string, files map[string]string) {
			files["notes"] = "x"
			relist(web, files)
			write1(t, filepath.Join(web, "notes"), "y")
		}, "of notes, which has " + sha("y")},
		"a file that they leave out":  {func(web string, files map[string]string) { delete(files, "web.spdx.json"); relist(web, files) }, "SHA256SUMS does not list web.spdx.json"},
		"bundles of an earlier build": {put("web.sigstore.json", bundle(t, "web.img", "earlier")), "web.sigstore.json has no bundle that is about web.img"},
		"bundles that are none":       {put("web.intoto.jsonl", "x\n"), "web.intoto.jsonl has no bundle"},
		"a link for the artifact":     {special("web.img", toSecret), "web.img: it is not a regular file"},
		"a link for the manifest":     {special("manifest.json", toSecret), "manifest.json: it is not a regular file"},
		"a link for the checksums":    {special("SHA256SUMS", toSecret), "SHA256SUMS: it is not a regular file"},
		"a FIFO for the SBOM":         {special("web.spdx.json", fifo), "web.spdx.json: it is not a regular file"},
		"a FIFO for the checksums":    {special("SHA256SUMS", fifo), "SHA256SUMS: it is not a regular file"},
		"many names": {func(web string, _ map[string]string) {
			for i := range MaxNames + 1 {
				write1(t, filepath.Join(web, fmt.Sprint("n", i)), "")
			}
		}, "more than 1000 names in it"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			web, out := filepath.Join(dir, "web"), filepath.Join(dir, "out")
			tt.change(web, built(t, web, "web", "web.img"))
			_, err := Merge(t.Context(), []string{web}, out)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), web) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := names(t, dir); got != "web" {
				t.Errorf("left %s", got)
			}
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	tests := map[string]struct {
		make func(dir string)
		want []string
	}{
		"of plugins":          {func(dir string) { built(t, dir+"/a", "web", "a.img"); built(t, dir+"/b", "web", "b.img") }, []string{`DIR/a and DIR/b are both plugin "web": give one of them another name ([plugin] name`}},
		"of artifacts":        {func(dir string) { built(t, dir+"/a", "a", "web.img"); built(t, dir+"/b", "b", "web.img") }, []string{"DIR/a and DIR/b both have a web.img for the release: build one of them under another name (-o NAME.img)"}},
		"of manifests":        {func(dir string) { built(t, dir+"/a", "a", "web.img"); built(t, dir+"/b", "b", "web.cpio.gz") }, []string{"both have a web.manifest.json for the release", "(-o NAME.cpio.gz)"}},
		"that GitHub keeps":   {func(dir string) { built(t, dir+"/a", "a", "my web.img") }, []string{`asset name "my web.img": GitHub would rename it`}},
		"without line breaks": {func(dir string) { built(t, dir+"/a", "a", "a\nb.img") }, []string{`manifest.json`}},
		"all at once": {func(dir string) {
			built(t, dir+"/a", "a", "web.img")
			built(t, dir+"/b", "b", "web.img")
			built(t, dir+"/c", "a", "c.img")
		}, []string{"both have a web.img", `are both plugin "a"`}},
		"of nothing":         {func(dir string) { os.MkdirAll(dir, 0o755) }, []string{"there is no plugin in it"}},
		"without a manifest": {func(dir string) { write1(t, dir+"/x/web.img", "x") }, []string{"no manifest.json, which 'fledge build' writes beside the artifact: DIR/x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "in")
			tt.make(dir)
			_, err := Merge(t.Context(), []string{dir}, dir+"-out")
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(want, "DIR", dir)) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
			if _, err := os.Stat(dir + "-out"); err == nil {
				t.Error("something was written")
			}
		})
	}
	var usage *UsageError
	for _, folders := range [][]string{nil, {"none"}, {"merge.go"}} {
		if _, err := Merge(t.Context(), folders, filepath.Join(t.TempDir(), "out")); !errors.As(err, &usage) {
			t.Errorf("%q: %v", folders, err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	os.Mkdir(out, 0o755)
	if _, err := Merge(t.Context(), []string{out}, out); err == nil || !strings.Contains(err.Error(), "is the folder that the plugins are merged into") {
		t.Errorf("the folder itself: %v", err)
	}
}

func TestLimitOfPlugins(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: makes 257 plugins; not with -short")
	}
	dir := t.TempDir()
	for i := range MaxPlugins {
		name := fmt.Sprintf("p%03d", i)
		at := filepath.Join(dir, "in", name)
		built(t, at, name, name+".img")
		for _, gone := range []string{"SHA256SUMS", name + ".spdx.json", name + ".build.json"} {
			os.Remove(filepath.Join(at, gone))
		}
	}
	if r := merged(t, []string{filepath.Join(dir, "in")}, filepath.Join(dir, "out")); len(r.Plugins) != MaxPlugins {
		t.Errorf("%d plugins", len(r.Plugins))
	}
	built(t, filepath.Join(dir, "in", "q"), "q", "q.img")
	if _, err := Merge(t.Context(), []string{filepath.Join(dir, "in")}, filepath.Join(dir, "out")); err == nil || !strings.Contains(err.Error(), "more than 256") {
		t.Errorf("one more: %v", err)
	}
}

func TestAFileThatChangesIsNotMerged(t *testing.T) {
	dir := t.TempDir()
	web, out := filepath.Join(dir, "web"), filepath.Join(dir, "out")
	built(t, web, "web", "web.img")
	for how, change := range map[string]func(old, name string) error{
		"other bytes before a copy": func(old, _ string) error { os.WriteFile(old, []byte("IMAGE OF web!"), 0o644); return syscall.EXDEV },
		"another file is linked": func(old, name string) error {
			os.WriteFile(old+".x", []byte("x"), 0o644)
			return os.Link(old+".x", name)
		},
		"a link is linked": func(_, name string) error { return os.Symlink("/etc/passwd", name) },
	} {
		link = change
		_, err := Merge(t.Context(), []string{web}, out)
		link = os.Link
		if err == nil || !strings.Contains(err.Error(), "it changes while it is merged") {
			t.Errorf("%s: %v", how, err)
		}
		built(t, web, "web", "web.img")
		os.Remove(filepath.Join(web, "web.img.x"))
		if got := names(t, dir); got != "web" {
			t.Errorf("%s: left %s", how, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	link = func(string, string) error { cancel(); return syscall.EXDEV }
	defer func() { link = os.Link }()
	if _, err := Merge(ctx, []string{web}, out); !errors.Is(err, context.Canceled) || names(t, dir) != "web" {
		t.Errorf("cancelled: %v, left %s", err, names(t, dir))
	}
}

func TestCopiesKeepHoles(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := &sparse{f: f}
	for _, block := range [][]byte{[]byte("a"), zeros[:], []byte("b"), zeros[:]} {
		if n, err := s.Write(block); n != len(block) || err != nil {
			t.Fatal(n, err)
		}
	}
	size := int64(2 + 2*len(zeros))
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(f.Name())
	if want := "a" + string(zeros[:]) + "b" + string(zeros[:]); string(got) != want {
		t.Error("other bytes were written")
	}
	info, _ := f.Stat()
	if blocks := info.Sys().(*syscall.Stat_t).Blocks * 512; blocks >= size {
		t.Errorf("%d bytes of the disk for a file with holes of %d", blocks, size)
	}
}
