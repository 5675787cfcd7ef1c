// Package build turns a fledge.toml into a plugin: an artifact and the
// manifest.json that describes it to Volant.
//
// [Build] is the pipeline and knows no format; the packages below it do:
//
//	config   fledge.toml and the files beside it → a Config and manifest fields
//	lock     fledge.lock → what the names in fledge.toml stand for
//	image    an OCI image → verified layers
//	layer    layers → tree.Tree, contents into the writer
//	guest    the agent → tree
//	mapping  the project's files → tree
//	preflight tree → what keeps it from booting
//	size     tree → where its bytes are
//	ext4     tree → filesystem image
//
// [ResolveLock] makes a lock, and [RecordedLock] the one of an earlier build's Materials.
// Request.Lock makes a build take what is pinned, without changing a byte as long as
// the names stand for the same.
//
// # Determinism
//
// The artifact's bytes depend on the image's config and layers, the agent, the mapped
// files, the settings of fledge.toml that say what the image is like, and the
// epoch; on nothing else. The epoch is the caller's, or else the image's own creation
// time, or else [DefaultEpoch]. The filesystem's UUID and hash seed are digests
// of the same inputs. The manifest depends on the place of the artifact as well, unless
// fledge.toml names a URL.
//
// # Failure
//
// Nothing is fetched before the configuration itself is known to be good, and no
// layer before the manifest is, as far as it can be told. The artifact and the
// manifest appear whole, after everything else has succeeded, or not at all; what
// had their names before stays until then. A kill between the two leaves a new
// artifact beside the old manifest, whose checksum Volant then refuses.
package build
