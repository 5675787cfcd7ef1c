package sbom

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// newTree makes a tree: names to contents, "-> TARGET" for links.
func newTree(t *testing.T, files map[string]string) *tree.Tree {
	t.Helper()
	tr := tree.New()
	for name, text := range files {
		n := &tree.Node{Mode: 0o644, Content: tree.Bytes(text)}
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			n = &tree.Node{Mode: fs.ModeSymlink | 0o777, Target: target}
		}
		if err := tr.MkdirAll(path.Dir(name), tree.Node{Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		if err := tr.Put(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func scan(t *testing.T, in Input) *Document {
	t.Helper()
	d, err := Scan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func encoded(t *testing.T, d *Document, f Format) []byte {
	t.Helper()
	b, err := d.Encode(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// apkDB is what apk writes.
const apkDB = `C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:musl
V:1.2.5-r0
A:x86_64
S:383459
I:622592
T:the musl c library (libc) implementation
U:https://musl.libc.org/
L:MIT
o:musl
m:Timo Teräs <timo.teras@iki.fi>
t:1709500401
c:e4aa6d1a7d8a3a2ee1ef6d2a2ee2e4f0ddb2b3a2
p:so:libc.musl-x86_64.so.1=1
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1V3jY0Dh2GC0KRQRQ5w4OJ8gKrJA=

P:libcrypto3
V:3.3.0-r2
A:x86_64
U:https://www.openssl.org/
L:Apache-2.0
o:openssl
D:so:libc.musl-x86_64.so.1
p:so:libcrypto.so.3=3

P:apk-tools
V:2.14.4-r0
A:x86_64
L:GPL-2.0-only
o:apk-tools
D:musl>=1.2.3_git20230424 ca-certificates-bundle so:libc.musl-x86_64.so.1 so:libcrypto.so.3 !old
p:so:libapk.so.2.14.0=2.14.0 cmd:apk=2.14.4-r0

P:strange
V:1
A:noarch
L:Public-Domain BSD-like

P:stranger
V:1
A:noarch
L:custom

`

// dpkgDB is what dpkg writes.
const dpkgDB = `Package: base-files
Essential: yes
Status: install ok installed
Maintainer: Santiago Vila <sanvila@debian.org>
Architecture: amd64
Version: 12.4+deb12u5
Provides: base
Depends: awk
Conffiles:
 /etc/debian_version 1a2b
 /etc/dpkg/origins/debian c47b
Description: Debian base system miscellaneous files
 This package contains the basic filesystem hierarchy.

Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3.4.20200120-3.1
Provides: awk
Pre-Depends: libc6 (>= 2.34), nothing | base-files:any
Homepage: https://invisible-island.net/mawk/

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc (2.36-9)
Version: 2.36-9+deb12u4

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: half
Status: install ok unpacked
Architecture: all
Version: 1:2-3
`

const osRelease = `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME='Debian GNU/Linux'
VERSION_ID="12"
# comment
ID=debian
`

var created = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

const digestOfNothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// richInput is a tree with something of everything.
func richInput(t *testing.T) Input {
	t.Helper()
	return Input{
		Name: "web", Version: "1.0", Tool: "1.2.3", Created: created,
		Artifact: Artifact{Name: "web.img", Digest: digestOfNothing},
		Image:    &Image{Name: "nginx", Tag: "1.27", Repository: "docker.io/library/nginx", Arch: "amd64", Digest: digestOfNothing, ConfigDigest: digestOfNothing},
		Parts: []Part{
			{Name: "busybox", Path: "/bin/busybox", Digest: sha256Digest("...BusyBox v1.35.0 (2022)...")},
			{Name: "kestrel", Version: "v0.7", Path: "/bin/kestrel", Digest: digestOfNothing},
		},
		Files: []File{{Path: "srv/b", Origin: "site/b"}, {Path: "srv/a", Origin: "site/a"}},
		Tree: newTree(t, map[string]string{
			"usr/lib/os-release":              osRelease,
			"etc/os-release":                  "-> ../usr/lib/os-release",
			"lib":                             "-> usr/lib",
			"usr/lib/apk/db/installed":        apkDB,
			"var/lib/dpkg/status":             dpkgDB,
			"var/lib/dpkg/status.d/tzdata":    "Package: tzdata\nVersion: 2024a-0\nArchitecture: all\nMaintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>\n",
			"var/lib/dpkg/status.d/a.md5sums": "0123  usr/share/x\n",
			"usr/bin/go-program":              goProgram(t),
			"usr/bin/busybox":                 "...BusyBox v1.35.0 (2022)...",
			"usr/bin/kestrel":                 "replaced",
			"bin":                             "-> usr/bin",
			"srv/a":                           "a",
			"srv/b":                           "",
		}),
	}
}

// hostileInput is a tree whose databases mean ill.
func hostileInput(t *testing.T) Input {
	t.Helper()
	evil := "\x00\xff\"<>\u2028%20?#@/../"
	return Input{
		Name: evil, Version: evil, Tool: evil, Created: created,
		Artifact: Artifact{Name: evil, Digest: "sha256:no"},
		Image:    &Image{Name: evil, Tag: evil, Repository: evil, Digest: evil},
		Files:    []File{{Path: "srv/\xff \"", Origin: evil}, {Path: "srv/\xfe \"", Origin: evil}},
		Tree: newTree(t, map[string]string{
			"etc/os-release":           "ID=" + evil + "\nVERSION_ID='\nPRETTY_NAME=" + evil,
			"usr/lib/apk/db/installed": "P:" + evil + "\nV:" + evil + "\nA:" + evil + "\nL:" + evil + "\nU:http://" + evil + "\nm:" + evil + "<" + evil + ">\no:" + evil + "\n\nP:ref\nL:LicenseRef-x AND MIT\n\nP:ref2\nL:LicenseRef-\n",
			"var/lib/dpkg/status":      "Package: a\nStatus: install ok installed\n\n no field before\n",
			"var/lib/rpm/Packages":     "no database at all, but long enough to be one",
			"var/lib/rpm/rpmdb.sqlite": "-> rpmdb.sqlite",
			"srv/\xff \"":              "x",
			"srv/\xfe \"":              "y",
		}),
	}
}

// summary is one line for each package.
func summary(d *Document) string {
	var b strings.Builder
	for _, p := range d.Packages {
		fmt.Fprintf(&b, "%s", p.PURL)
		for _, j := range p.needs {
			fmt.Fprintf(&b, " >%s", d.Packages[j].Name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
