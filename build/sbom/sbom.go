package sbom

import (
	"fmt"
	"strings"
	"time"

	"github.com/volant/fledge-action/build/tree"
)

// MaxDocument is the largest document that is made, in bytes: as base64 in a signed
// bundle, with what else is in one, it stays below the 16 MiB that verifiers read.
const MaxDocument = 11_500_000

// A Format is how a document is written.
type Format string

// The formats.
const (
	SPDX      Format = "spdx"      // SPDX 2.3, JSON
	CycloneDX Format = "cyclonedx" // CycloneDX 1.6, JSON
)

// Formats are all of them, the one to prefer first.
var Formats = []Format{SPDX, CycloneDX}

// Extension is what names of a format's files end with.
func (f Format) Extension() string {
	if f == CycloneDX {
		return ".cdx.json"
	}
	return ".spdx.json"
}

// Input is everything that a document depends on.
type Input struct {
	Tree     *tree.Tree
	Name     string // of the plugin
	Version  string // of the plugin, "" for none
	Tool     string // version of fledge
	Created  time.Time
	Artifact Artifact
	Image    *Image // the base image, nil for none
	Parts    []Part // programs that fledge added
	Files    []File // the project's files
}

// An Artifact is what the document is about.
type Artifact struct {
	Name   string // base name of its file
	Digest string // "sha256:" and hex
}

// An Image is the base image.
type Image struct {
	Name         string // last component of its repository, or of where it was
	Tag          string // "" for none
	Repository   string // "docker.io/library/nginx"; "" when it came from no registry
	Arch         string // of the platform
	Digest       string // what its reference stands for; "" when it has no manifest
	ConfigDigest string
}

// A Part is a program that fledge added: the agent, busybox, the init shim.
type Part struct {
	Name    string
	Version string // "" when nobody says; of busybox it is then looked for in the program
	Path    string // where it was put; links are followed
	Digest  string // "sha256:" and hex. A file there with another one is not the part.
}

// A File is a file of the project.
type File struct {
	Path   string // in the tree, without a leading slash
	Origin string // below the project folder
}

// A Document lists the software in a tree.
type Document struct {
	// Packages are those of databases, Go modules and parts, sorted by kind, name,
	// version and package URL. No two have one package URL.
	Packages []Package
	// Warnings say what could not be read, sorted as it was found. They are in the
	// document too.
	Warnings []string
	Distro   Distro

	in    Input
	files []hashedFile // sorted by path
}

// A Kind says what listed a package. It is the type of its package URL.
type Kind string

// The kinds.
const (
	KindAPK     Kind = "apk"
	KindDeb     Kind = "deb"
	KindRPM     Kind = "rpm"
	KindGo      Kind = "golang"
	KindGeneric Kind = "generic" // a part
)

// A Package is one piece of software.
type Package struct {
	Kind     Kind
	Name     string
	Version  string // as its package manager compares it; rpm's with the release, without the epoch
	Epoch    int64  // of rpm
	Arch     string
	Upstream string // source package, with "@VERSION" where that differs; or its file's name
	Licence  Licence
	Supplier string // as SPDX writes it: "Person: NAME (ADDRESS)", "Organization: NAME"
	Homepage string
	PURL     string
	Where    []string // absolute paths of the databases and programs that tell of it, sorted
	Digest   string   // of a part: "sha256:" and hex

	requires, provides []string
	id                 string
	needs              []int // indices in Packages of those that it needs, sorted
}

// purl makes the package's URL.
func (p *Package) purl(d Distro) purl {
	distro := qualifier{"distro", d.qualifier()}
	arch := qualifier{"arch", p.Arch}
	upstream := qualifier{"upstream", p.Upstream}
	switch p.Kind {
	case KindAPK:
		return purl{"apk", d.vendor("alpine"), strings.ToLower(p.Name), p.Version, []qualifier{arch, distro, upstream}}
	case KindDeb:
		return purl{"deb", d.vendor("debian"), strings.ToLower(p.Name), p.Version, []qualifier{arch, distro, upstream}}
	case KindRPM:
		qs := []qualifier{arch, distro, upstream}
		if p.Epoch != 0 {
			qs = append(qs, qualifier{"epoch", fmt.Sprint(p.Epoch)})
		}
		return purl{"rpm", d.vendor(""), p.Name, p.Version, qs}
	case KindGo:
		namespace, name := "", strings.Trim(strings.ToLower(p.Name), "/")
		if at := strings.LastIndexByte(name, '/'); at >= 0 {
			namespace, name = name[:at], name[at+1:]
		}
		return purl{"golang", namespace, name, p.Version, nil}
	}
	return purl{"generic", "", p.Name, p.Version, []qualifier{{"checksum", p.Digest}}}
}

// purl makes the image's URL.
func (im *Image) purl() purl {
	return purl{"oci", "", strings.ToLower(im.Name), im.Digest, []qualifier{{"arch", im.Arch}, {"repository_url", im.Repository}, {"tag", im.Tag}}}
}

// Encode writes the document in a format.
func (d *Document) Encode(f Format) ([]byte, error) {
	switch f {
	case SPDX:
		return d.SPDX()
	case CycloneDX:
		return d.CycloneDX()
	}
	return nil, fmt.Errorf("writing SBOM: unknown format %q; use spdx or cyclonedx", f)
}
