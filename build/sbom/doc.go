// Package sbom lists the software in a finished tree: which packages of the
// distribution, which Go modules, which files of the project, what fledge added.
//
// [Scan] reads the tree and nothing else. The list is written as SPDX 2.3
// (https://spdx.github.io/spdx-spec/v2.3/) or CycloneDX 1.6
// (https://cyclonedx.org/docs/1.6/json/), both JSON, packages named by package URLs
// (https://github.com/package-url/purl-spec).
//
// # Sources
//
//   - apk: lib/apk/db/installed and usr/lib/apk/db/installed
//   - dpkg: var/lib/dpkg/status, and var/lib/dpkg/status.d of images without dpkg
//   - rpm: rpmdb.sqlite, Packages.db and Packages; see package rpmdb
//   - the build information of every Go program, as "go version -m" shows it
//   - os-release, for the distribution in package URLs
//   - what the caller says of the base image, of programs that were added and of the
//     project's files, whose sums are computed from the tree
//
// Symbolic links are followed, inside the tree only.
//
// # What is not known
//
// Licences are what the databases declare. What is no valid SPDX expression becomes a
// LicenseRef with the text as it was; nothing is concluded. Where a package can be
// downloaded is not known.
//
// # Hostile databases
//
// Everything in the tree is somebody else's. Databases have limits of size, packages and
// lengths; one that is damaged, or past a limit, gives what could be read of it, a warning
// and an annotation in the document: it is never silently absent. Only contents that
// cannot be read, a cancelled context and a document of more than [MaxDocument] bytes
// are errors.
//
// # Determinism
//
// The document is a function of the tree and the [Input]: the identity of the document
// (documentNamespace, serialNumber) comes from a digest of its content, its date is
// [Input.Created], everything is sorted.
package sbom
