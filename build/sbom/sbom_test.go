package sbom

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/volant/fledge-action/build/tree"
	"github.com/volant/fledge-action/internal/rpmtest"
)

func sha256Digest(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// program is cmd/fledge, built once.
var program = sync.OnceValues(func() ([]byte, error) {
	dir, err := tempDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "fledge")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/volant/fledge-action/cmd/fledge").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return readFile(path)
})

func goProgram(t *testing.T) string {
	t.Helper()
	b, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestScanListsEveryDatabase(t *testing.T) {
	d := scan(t, richInput(t))
	var got strings.Builder
	for line := range strings.Lines(summary(d)) {
		if !strings.HasPrefix(line, "pkg:golang/") {
			got.WriteString(line)
		}
	}
	want := `pkg:apk/debian/apk-tools@2.14.4-r0?arch=x86_64&distro=debian-12 >libcrypto3 >musl
pkg:apk/debian/libcrypto3@3.3.0-r2?arch=x86_64&distro=debian-12&upstream=openssl >musl
pkg:apk/debian/musl@1.2.5-r0?arch=x86_64&distro=debian-12
pkg:apk/debian/strange@1?arch=noarch&distro=debian-12
pkg:apk/debian/stranger@1?arch=noarch&distro=debian-12
pkg:deb/debian/base-files@12.4%2Bdeb12u5?arch=amd64&distro=debian-12 >mawk
pkg:deb/debian/half@1:2-3?arch=all&distro=debian-12
pkg:deb/debian/libc6@2.36-9%2Bdeb12u4?arch=amd64&distro=debian-12&upstream=glibc%402.36-9
pkg:deb/debian/mawk@1.3.4.20200120-3.1?arch=amd64&distro=debian-12 >base-files >libc6
pkg:deb/debian/tzdata@2024a-0?arch=all&distro=debian-12
pkg:generic/busybox@1.35.0?checksum=` + sha256Digest("...BusyBox v1.35.0 (2022)...") + "\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
	if len(d.Warnings) > 0 {
		t.Errorf("warnings %q", d.Warnings)
	}
	if want := (Distro{ID: "debian", Version: "12", Name: "Debian GNU/Linux 12 (bookworm)"}); d.Distro != want {
		t.Errorf("distribution %+v", d.Distro)
	}
}

// TestScanAgreesWithGoVersion holds the modules of a program against "go version -m".
func TestScanAgreesWithGoVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := writeFile(path, []byte(goProgram(t))); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, path):
			want["stdlib "+strings.TrimPrefix(fields[1], "go")] = true
		case fields[0] == "dep" || fields[0] == "mod":
			version := fields[2]
			if version == "(devel)" {
				version = ""
			}
			want[fields[1]+" "+version] = true
		}
	}
	got := map[string]bool{}
	d := scan(t, richInput(t))
	for _, p := range d.Packages {
		if p.Kind != KindGo {
			continue
		}
		got[p.Name+" "+p.Version] = true
		if p.Name == "github.com/volant/fledge-action" && len(p.needs) != len(want)-1 {
			t.Errorf("the main module needs %d others, want %d", len(p.needs), len(want)-1)
		}
		if !strings.HasPrefix(p.PURL, "pkg:golang/"+strings.ToLower(p.Name)) || !cmp.Equal(p.Where, []string{"/usr/bin/go-program"}) {
			t.Errorf("%s in %q", p.PURL, p.Where)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Error(diff)
	}
}

func TestDocumentsAreTheSameEachTime(t *testing.T) {
	for _, format := range Formats {
		first := encoded(t, scan(t, richInput(t)), format)
		bad := encoded(t, scan(t, hostileInput(t)), format)
		for range 10 {
			if !bytes.Equal(first, encoded(t, scan(t, richInput(t)), format)) || !bytes.Equal(bad, encoded(t, scan(t, hostileInput(t)), format)) {
				t.Fatalf("%s: two documents of one tree differ", format)
			}
		}
		in := richInput(t)
		in.Version = "1.1"
		other := encoded(t, scan(t, in), format)
		if identity(t, first) == identity(t, other) {
			t.Errorf("%s: other content has the same identity %s", format, identity(t, first))
		}
	}
}

func identity(t *testing.T, b []byte) string {
	t.Helper()
	var doc struct {
		Namespace string `json:"documentNamespace"`
		Serial    string `json:"serialNumber"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc.Namespace+doc.Serial == "" {
		t.Fatal(err)
	}
	return doc.Namespace + doc.Serial
}

func TestDamageIsAWarningAndAnAnnotation(t *testing.T) {
	line := strings.Repeat("x", maxLine+1)
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string // warning
		left  int    // packages
	}{
		{"rpm that is none", map[string]string{"var/lib/rpm/Packages": strings.Repeat("no database ", 9)}, "rpm database /var/lib/rpm/Packages cannot be read whole: reading rpm database: damaged", 0},
		{"empty rpm", map[string]string{"usr/lib/sysimage/rpm/Packages.db": ""}, "rpm database /usr/lib/sysimage/rpm/Packages.db", 0},
		{"write-ahead log", map[string]string{"var/lib/rpm/rpmdb.sqlite": "", "var/lib/rpm/rpmdb.sqlite-wal": "x"}, "write-ahead log of 1 bytes, which is not read", 0},
		{"apk with a long line", map[string]string{"lib/apk/db/installed": "P:a\nV:1\n\nP:" + line}, "apk database /lib/apk/db/installed cannot be read whole: a line of more than 1048576 bytes; 1 packages", 1},
		{"apk with no line of its own", map[string]string{"lib/apk/db/installed": "P:a\n\nhello\n"}, `a line "hello"`, 1},
		{"apk without a name", map[string]string{"lib/apk/db/installed": "P:a\n\nV:1\n\nP:b\n"}, "without a name", 1},
		{"name past the limit", map[string]string{"lib/apk/db/installed": "P:" + strings.Repeat("n", maxField) + "\n\nP:" + strings.Repeat("n", maxField+1) + "\n\n"}, "a name of 1025 bytes, the limit is 1024", 1},
		{"dpkg with no field", map[string]string{"var/lib/dpkg/status": "Package: a\nStatus: install ok installed\n\nhello\n"}, `a line "hello"`, 1},
		{"dpkg without a status", map[string]string{"var/lib/dpkg/status": "Package: a\n"}, `package "a" without a status`, 0},
		{"a loop", map[string]string{"var/lib/dpkg/status": "-> status"}, "too many levels of symbolic links", 0},
		{"no database", map[string]string{"etc/os-release": "ID=alpine\n"}, "os-release says alpine, and no package database is in the tree", 0},
		{"os-release past the limit", map[string]string{"etc/os-release": strings.Repeat("#", maxOSRelease+1)}, "the distribution is not known", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := scan(t, Input{Tree: newTree(t, test.files), Created: created})
			if len(d.Packages) != test.left {
				t.Errorf("%d packages, want %d", len(d.Packages), test.left)
			}
			text := strings.Join(d.Warnings, "\n")
			if !strings.Contains(text, test.want) {
				t.Errorf("warnings %q, want %q", d.Warnings, test.want)
			}
			for _, format := range Formats {
				quoted, _ := json.Marshal(d.Warnings[0])
				if b := encoded(t, d, format); !bytes.Contains(b, quoted) {
					t.Errorf("%s does not say %s", format, quoted)
				}
			}
		})
	}
}

// TestDatabasesAreFoundThroughLinks also sees that one database is not read twice, and
// that no link leads out of the tree.
func TestDatabasesAreFoundThroughLinks(t *testing.T) {
	d := scan(t, Input{Tree: newTree(t, map[string]string{
		"lib": "-> usr/lib", "usr/lib/apk": "-> /../../var/apk", "var/apk/db/installed": "P:a\nV:1\n",
	})})
	if got := summary(d); got != "pkg:apk/alpine/a@1\n" || !cmp.Equal(d.Packages[0].Where, []string{"/var/apk/db/installed"}) {
		t.Errorf("%s in %q", got, d.Packages[0].Where)
	}
	d = scan(t, Input{Tree: newTree(t, map[string]string{
		"lib": "-> usr/lib", "usr/lib/apk/db/installed": "-> /data", "data": "P:a\nV:1\n\nbroken\n",
	})})
	if len(d.Packages) != 1 || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "database /data cannot be read whole") {
		t.Errorf("%s, warnings %q", summary(d), d.Warnings)
	}
}

func TestPackagesThatAreTooMany(t *testing.T) {
	var db strings.Builder
	for i := range maxPackages + 1 {
		fmt.Fprintf(&db, "P:p%d\nU:https://example.com/%s\n\n", i, strings.Repeat("x", 500))
	}
	d := scan(t, Input{Tree: newTree(t, map[string]string{"lib/apk/db/installed": db.String()}), Created: created})
	if len(d.Packages) != maxPackages || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "more than 20000 packages") {
		t.Errorf("%d packages, warnings %q", len(d.Packages), d.Warnings)
	}
	if _, err := d.SPDX(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("the limit is %d", MaxDocument)) {
		t.Errorf("20000 packages: %v", err)
	}
}

// TestDependenciesGoWhenTheyDoNotFit: what counts is the list of packages.
func TestDependenciesGoWhenTheyDoNotFit(t *testing.T) {
	var db strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&db, "P:p%d\nV:1\nD:", i)
		for j := range 60 {
			fmt.Fprintf(&db, " p%d", (i*7+j*11)%3000)
		}
		db.WriteString("\n\n")
	}
	d := scan(t, Input{Tree: newTree(t, map[string]string{"lib/apk/db/installed": db.String()}), Created: created})
	b := encoded(t, d, SPDX)
	if len(b) > MaxDocument || bytes.Contains(b, []byte("DEPENDS_ON")) || !bytes.Contains(b, []byte("they are left out")) {
		t.Errorf("%d bytes, dependencies are there or nobody says that they are not", len(b))
	}
	checkSPDX(t, "many", b)
}

// TestOneCapabilityOfManyPackagesCostsLittle: each needs what all of them provide.
func TestOneCapabilityOfManyPackagesCostsLittle(t *testing.T) {
	var db strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&db, "P:p%d\nD:x\np:x\n\n", i)
	}
	d := scan(t, Input{Tree: newTree(t, map[string]string{"lib/apk/db/installed": db.String()}), Created: created})
	for _, p := range d.Packages {
		if n := len(p.needs); n < maxProviders-1 || n > maxProviders {
			t.Fatalf("%s needs %d others", p.Name, n)
		}
	}
}

func TestDependenciesThatAreTooMany(t *testing.T) {
	const each = 400
	packages := make([]Package, maxNeeds/each)
	for i := range packages {
		packages[i] = Package{Kind: KindAPK, Name: fmt.Sprint(i)}
		for j := range each {
			packages[i].requires = append(packages[i].requires, fmt.Sprint((i+j+1)%len(packages)))
		}
	}
	more := append(slices.Clone(packages), Package{Kind: KindAPK, Name: "more", requires: []string{"1"}})
	if !connect(packages) || len(packages[0].needs) != len(packages)-1 && len(packages[0].needs) != each {
		t.Errorf("%d dependencies of %d packages are too many", len(packages[0].needs), len(packages))
	}
	if connect(more) {
		t.Error("one more is not")
	}
}

// TestPackagesStayWhenTheyNeedTooMuch: what is bounded is who needs whom.
func TestPackagesStayWhenTheyNeedTooMuch(t *testing.T) {
	var db strings.Builder
	for i := range maxRelatedAll/10_000 + 2 {
		fmt.Fprintf(&db, "P:p%d\nD:%s\n\n", i, strings.Repeat(" a", 10_000))
	}
	d := scan(t, Input{Tree: newTree(t, map[string]string{"lib/apk/db/installed": db.String()}), Created: created})
	if len(d.Packages) != maxRelatedAll/10_000+2 || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "more than 1000000 things") {
		t.Errorf("%d packages, warnings %q", len(d.Packages), d.Warnings)
	}
}

// broken is a content that cannot be read.
type broken struct{ size int64 }

var errBroken = errors.New("no such disk")

func (b broken) Size() int64                  { return b.size }
func (b broken) Open() (io.ReadCloser, error) { return nil, errBroken }

func TestAContentThatCannotBeReadIsAnError(t *testing.T) {
	for _, name := range []string{"lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/rpm/Packages", "etc/os-release", "usr/bin/program", "srv/file"} {
		tr := newTree(t, map[string]string{name: ""})
		n, err := tr.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		n.Content = broken{minGo}
		in := Input{Tree: tr}
		if name == "srv/file" {
			in.Files = []File{{Path: name}}
			n.Content = broken{10}
		}
		if _, err := Scan(t.Context(), in); !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestScanCanBeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, richInput(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestAProgramWithBrokenBuildInformationIsAWarning(t *testing.T) {
	b := []byte(goProgram(t))
	at := bytes.Index(b, []byte("\xff Go buildinf:"))
	if at < 0 {
		t.Fatal("the program has no build information")
	}
	b[at] = 0
	d := scan(t, Input{Tree: newTree(t, map[string]string{"bin/p": string(b)}), Created: created})
	if len(d.Packages) != 0 || len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "Go program /bin/p cannot be read") {
		t.Errorf("%d packages, %q", len(d.Packages), d.Warnings)
	}
}

func TestFilesAreHashedFromTheTree(t *testing.T) {
	var doc spdxDocument
	if err := json.Unmarshal(encoded(t, scan(t, richInput(t)), SPDX), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Files) != 2 || doc.Files[0].Name != "./srv/a" || doc.Files[1].Name != "./srv/b" {
		t.Fatalf("files %+v", doc.Files)
	}
	want := []spdxChecksum{
		{"SHA1", "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8"},
		{"SHA256", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
	}
	if diff := cmp.Diff(want, doc.Files[0].Checksums); diff != "" {
		t.Error(diff)
	}
	for _, p := range doc.Packages {
		// printf %s 86f7... da39a3ee... | sha1sum: the sums of both files
		if p.Verification != nil && p.Verification.Value != "2a6f520ef2c17a239311f8ede54e4039d5500711" {
			t.Errorf("verification code %s", p.Verification.Value)
		}
	}
}

func TestIdentifyReadsWhatScanWrites(t *testing.T) {
	d := scan(t, richInput(t))
	for _, format := range Formats {
		got, err := Identify(bytes.NewReader(encoded(t, d, format)))
		if want := (Identity{format, true, digestOfNothing}); got != want || err != nil {
			t.Errorf("%s: %+v, %v", format, got, err)
		}
	}
	for text, want := range map[string]Identity{
		`{"spdxVersion":"SPDX-2.2","creationInfo":{"creators":["Tool: other-1"]}}`:                                    {Format: SPDX},
		`{"spdxVersion":"SPDX-2.3","packages":7}`:                                                                     {Format: SPDX},
		`{"bomFormat":"CycloneDX","metadata":{"tools":[{"name":"fledge"}]}}`:                                          {Format: CycloneDX},
		`{"bomFormat":"CycloneDX","metadata":{"tools":{"components":[{"name":"fledge"}]},"component":{"hashes":[]}}}`: {Format: CycloneDX, Fledge: true},
	} {
		if got, err := Identify(strings.NewReader(text)); got != want || err != nil {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", `{"spdxVersion":"SPDX-3.0"}`, strings.Repeat(" ", MaxDocument+1)} {
		if got, err := Identify(strings.NewReader(text)); err == nil {
			t.Errorf("%.20q is %+v", text, got)
		}
	}
}

func TestEncodeRefusesUnknownFormats(t *testing.T) {
	if _, err := scan(t, Input{Tree: tree.New()}).Encode("xml"); err == nil {
		t.Error("xml is written")
	}
}

func TestScanListsRPMPackages(t *testing.T) {
	const name, version, release, epoch, vendor, licence, arch, source, provides, requires = 1000, 1001, 1002, 1003, 1011, 1014, 1022, 1044, 1047, 1049
	db := rpmtest.NDB([][]byte{
		rpmtest.Header(rpmtest.Tags{
			name: "bash", version: "5.2", release: "3.fc40", arch: "x86_64", licence: "GPL-3.0-or-later", vendor: "Fedora Project",
			source: "bash-5.2-3.fc40.src.rpm", requires: []string{"libc.so.6", "/bin/sh"}, provides: []string{"/bin/sh"},
		}),
		rpmtest.Header(rpmtest.Tags{name: "glibc", version: "2.39", epoch: uint32(2), licence: "LGPLv2+ and BSD", provides: []string{"libc.so.6"}}),
		rpmtest.Header(rpmtest.Tags{name: "gpg-pubkey", version: "a15b79cc"}),
	})
	d := scan(t, Input{Tree: newTree(t, map[string]string{
		"usr/lib/sysimage/rpm/Packages.db": string(db), "var/lib/rpm": "-> ../../usr/lib/sysimage/rpm", "etc/os-release": "ID=fedora\nVERSION_ID=40\n",
	}), Created: created})
	want := "pkg:rpm/fedora/bash@5.2-3.fc40?arch=x86_64&distro=fedora-40&upstream=bash-5.2-3.fc40.src.rpm >glibc\n" +
		"pkg:rpm/fedora/glibc@2.39?distro=fedora-40&epoch=2\n"
	if got := summary(d); got != want || len(d.Warnings) > 0 {
		t.Errorf("%s%q, want\n%s", got, d.Warnings, want)
	}
	text := string(encoded(t, d, SPDX))
	for _, want := range []string{
		`"supplier": "Organization: Fedora Project"`, `"licenseDeclared": "GPL-3.0-or-later"`, `"versionInfo": "2:2.39"`,
		`"extractedText": "LGPLv2+ and BSD"`, `"licenseDeclared": "LicenseRef-declared-`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the document has no %s", want)
		}
	}
}
