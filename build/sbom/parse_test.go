package sbom

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if scratch != "" {
		os.RemoveAll(scratch)
	}
	os.Exit(code)
}

var scratch string

func tempDir() (dir string, err error) {
	scratch, err = os.MkdirTemp("", "fledge-sbom")
	return scratch, err
}

func readFile(path string) ([]byte, error)     { return os.ReadFile(filepath.Clean(path)) }
func writeFile(path string, text []byte) error { return os.WriteFile(path, text, 0o755) }

// Examples of the package URL specification and of its types' pages.
func TestPackageURLs(t *testing.T) {
	for want, p := range map[string]purl{
		"pkg:deb/debian/curl@7.50.3-1?arch=i386&distro=jessie":                                  {"deb", "debian", "curl", "7.50.3-1", []qualifier{{"distro", "jessie"}, {"arch", "i386"}}},
		"pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386&distro=fedora-25":                          {"rpm", "fedora", "curl", "7.50.3-1.fc25", []qualifier{{"arch", "i386"}, {"distro", "fedora-25"}, {"epoch", ""}}},
		"pkg:golang/google.golang.org/genproto@abcdedf":                                         {"golang", "google.golang.org", "genproto", "abcdedf", nil},
		"pkg:deb/debian/attr@1:2.4.47-2%2Bb1?arch=amd64":                                        {"deb", "debian", "attr", "1:2.4.47-2+b1", []qualifier{{"arch", "amd64"}}},
		"pkg:oci/debian@sha256:244fd47e07d10?repository_url=docker.io%2Flibrary%2Fdebian&tag=1": {"oci", "", "debian", "sha256:244fd47e07d10", []qualifier{{"tag", "1"}, {"repository_url", "docker.io/library/debian"}}},
		"pkg:generic/a%20b%2Fc%40%3F%23%25%C3%A9~_.-":                                           {"generic", "", "a b/c@?#%é~_.-", "", nil},
		"pkg:x/a/b/c": {"x", "/a//b/", "c", "", nil},
	} {
		if got := p.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPackageURLsOfPackages(t *testing.T) {
	rhel := Distro{ID: "rhel", Version: "9.2"}
	bash := Package{Kind: KindRPM, Name: "bash", Version: "5.1-6.el9", Epoch: 1, Arch: "x86_64", Upstream: "bash-5.1-6.el9.src.rpm"}
	for want, p := range map[string]Package{
		"pkg:rpm/redhat/bash@5.1-6.el9?arch=x86_64&distro=rhel-9.2&epoch=1&upstream=bash-5.1-6.el9.src.rpm": bash,

		"pkg:golang/github.com/burntsushi/toml@v1.6.0": {Kind: KindGo, Name: "github.com/BurntSushi/toml", Version: "v1.6.0"},
		"pkg:golang/stdlib@1.26.8":                     {Kind: KindGo, Name: "stdlib", Version: "1.26.8"},
	} {
		if got := p.purl(rhel).String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for id, want := range map[string]string{"": "debian", "opensuse-leap": "opensuse", "wolfi": "wolfi"} {
		if got := (Distro{ID: id}).vendor("debian"); got != want {
			t.Errorf("vendor of %q is %s, want %s", id, got, want)
		}
	}
}

func TestLicences(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("(", n) + "MIT" + strings.Repeat(")", n) }
	for _, test := range []struct{ text, expression, other string }{
		{"MIT", "MIT", ""},
		{" mit ", "MIT", ""},
		{"GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0-or-later WITH Classpath-exception-2.0", ""},
		{"(MIT OR Apache-2.0)  AND zlib", "(MIT OR Apache-2.0) AND Zlib", ""},
		{"GPL-2.0+", "GPL-2.0+", ""}, // of the list, deprecated
		{"Apache-2.0+", "Apache-2.0+", ""},
		{"LicenseRef-Callaway-BSD AND MIT", "LicenseRef-Callaway-BSD AND MIT", ""},
		{"GPLv2+ and MIT", "", "GPLv2+ and MIT"},
		{"MIT and Zlib", "", "MIT and Zlib"},
		{"MIT AND", "", "MIT AND"},
		{"MIT Zlib", "", "MIT Zlib"},
		{"(MIT", "", "(MIT"},
		{"MIT)", "", "MIT)"},
		{"MIT WITH nothing", "", "MIT WITH nothing"},
		{"(MIT) WITH Classpath-exception-2.0", "", "(MIT) WITH Classpath-exception-2.0"},
		{"LicenseRef-", "", "LicenseRef-"},
		{"LicenseRef-a_b", "", "LicenseRef-a_b"},
		{"", "", ""},
		{"NOASSERTION", "", ""},
		{deep(maxLicenceDepth), deep(maxLicenceDepth), ""},
		{deep(maxLicenceDepth + 1), "", deep(maxLicenceDepth + 1)},
		{strings.Repeat("x", maxLicence), "", strings.Repeat("x", maxLicence)},
		{strings.Repeat("x", maxLicence+1), "", ""},
	} {
		l := parseLicence(test.text)
		if l.Expression != test.expression || l.Text != test.other {
			t.Errorf("%.60q is %.60q, else %.60q", test.text, l.Expression, l.Text)
		}
	}
	if got := parseLicence("LicenseRef-b OR LicenseRef-a OR LicenseRef-b").refs; !cmp.Equal(got, []string{"LicenseRef-a", "LicenseRef-b"}) {
		t.Errorf("references %q", got)
	}
}

func TestOSRelease(t *testing.T) {
	for text, want := range map[string]Distro{
		"ID=Alpine\nVERSION_ID=3.20.1\nPRETTY_NAME=\"Alpine Linux v3.20\"\n": {"alpine", "3.20.1", "Alpine Linux v3.20"},
		"ID='x'\nVERSION_CODENAME=sid\nNAME=\"a \\\"b\\\"\"":                 {"x", "sid", `a "b"`},
		"#ID=x\nnonsense\nID=" + strings.Repeat("x", maxField+1):             {},
	} {
		if got := parseOSRelease(text); got != want {
			t.Errorf("%.40q: %+v", text, got)
		}
	}
}

func TestPeople(t *testing.T) {
	for in, want := range map[string]string{"A B <a@b.example>": "Person: A B (a@b.example)", "A": "Person: A", "": "", "<a@b>": "", "A <>": "Person: A"} {
		if got := person(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func TestIdentifiersAreValidAndUnique(t *testing.T) {
	a, b := identifier("Package-é/\x00", "1"), identifier("Package-é/\x00", "2")
	if a == b || idString(a) != a {
		t.Errorf("%s and %s", a, b)
	}
	if got := identifier(strings.Repeat("é", 100), "1"); idString(got) != got || len(got) > 100 {
		t.Errorf("%s", got)
	}
}

// collect parses a database and checks what holds for every one.
func collect(t *testing.T, text string, parse func(add func(Package) error) error) {
	t.Helper()
	size := 0
	err := parse(func(p Package) error {
		size += len(p.Name) + len(p.Version)
		if _, refs := p.Licence.declared(); p.Licence.Expression != "" && p.Licence.Text != "" || len(refs) > len(text) {
			return fmt.Errorf("licence %+v", p.Licence)
		}
		return nil
	})
	if size > len(text) {
		t.Errorf("%d bytes of names from %d of a database", size, len(text))
	}
	if err != nil && len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func FuzzAPK(f *testing.F) {
	f.Add(apkDB)
	f.Fuzz(func(t *testing.T, text string) {
		collect(t, text, func(add func(Package) error) error { return parseAPK(strings.NewReader(text), add) })
	})
}

func FuzzDpkg(f *testing.F) {
	f.Add(dpkgDB, true)
	f.Add("Package: a\nVersion: 1\n", false)
	f.Fuzz(func(t *testing.T, text string, need bool) {
		collect(t, text, func(add func(Package) error) error { return parseDpkg(strings.NewReader(text), need, add) })
	})
}

func FuzzOSRelease(f *testing.F) {
	f.Add(osRelease)
	f.Fuzz(func(t *testing.T, text string) {
		if d := parseOSRelease(text); len(d.Version)+len(d.Name) > len(text) {
			t.Errorf("%+v", d)
		}
	})
}

// FuzzLicence wants what was accepted to be accepted again, as it is.
func FuzzLicence(f *testing.F) {
	for _, s := range []string{"MIT", "(MIT OR Apache-2.0+) AND LicenseRef-x", "GPL-2.0-only WITH Classpath-exception-2.0", "and"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := parseLicence(text)
		if again := parseLicence(l.Expression); again.Expression != l.Expression {
			t.Errorf("%q gives %q, which gives %q", text, l.Expression, again.Expression)
		}
	})
}

func FuzzIdentify(f *testing.F) {
	for _, s := range []string{
		`{"spdxVersion":"SPDX-2.3","creationInfo":{"creators":["Tool: fledge-1"]},"packages":[{"SPDXID":"SPDXRef-Artifact","checksums":[{"checksumValue":"ab"}]}]}`,
		`{"bomFormat":"CycloneDX","metadata":{"tools":{"components":[{"name":"fledge"}]},"component":{"hashes":[{"content":"ab"}]}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := Identify(strings.NewReader(text)); (err == nil) != (id.Format != "") {
			t.Errorf("%+v, %v", id, err)
		}
	})
}
