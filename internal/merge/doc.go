// Package merge puts several plugins, each in the folder in which a build left it, into
// one folder for one release.
//
// A folder of a plugin holds
//
//	NAME.img, NAME.cpio.gz …   the artifact
//	manifest.json              its manifest
//	NAME.spdx.json             its SBOM (or NAME.cdx.json), if there is one
//	NAME.build.json            the record of the build, if there is one
//	SHA256SUMS                 of the above, if there is one
//	NAME.sigstore.json, NAME.intoto.jsonl, NAME.img.sigstore.json   bundles, if there are any
//
// and the merged folder holds the same files under the names that they have on the
// release: manifest.json of NAME is NAME.manifest.json when there is more than one
// plugin. One SHA256SUMS lists all of them but the bundles, sorted by name. No byte
// of a file is changed.
//
// # What is verified
//
// Everything, before anything is written: the manifest is one that Volant takes, and
// its checksum is the artifact's; SHA256SUMS says of each file what it is, lists
// nothing that is not there and leaves out nothing that is taken; the SBOM is about the
// artifact; the record can be read; each file of bundles has one that names the artifact.
// Names of files and names of plugins are unique over all plugins. Files that do not
// belong to the plugin are named in a warning and not taken; NAME.boot.json ([BootSuffix]) is
// not named.
//
// # The merged folder
//
// It is made under a hidden name beside its own and appears whole or not at all (see
// package outfile). Files are hard links where the filesystem allows it, else
// copies, which are hashed once more. It replaces nothing but an empty folder and a
// merged folder: one in which [Mark] is, and nothing but what SHA256SUMS there lists and
// bundles of it. A merged folder that has all files already stays as it is, with the
// bundles that were made in it since.
//
// # Determinism
//
// The result depends on the files in the folders alone, not on the order in which the
// folders are named or found.
//
// # Limits
//
// [MaxPlugins] plugins, release.MaxAssets files, [MaxNames] names in one folder,
// [MaxFolders] folders that are looked into. Files are hashed and copied in buffers of
// fixed size; manifests, records, SBOMs, bundles and checksums have the limits of the
// packages that read them. Symbolic links, FIFOs and devices are refused where a file
// of a plugin should be.
//
// # Failure
//
// Every error leaves the merged folder as it was. Folders that cannot be merged because
// of how they are named or chosen are a *[UsageError].
package merge
