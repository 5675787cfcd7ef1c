// Package image opens an OCI image as verified layers and configuration.
//
// [Open] takes a reference and finds the image manifest for one platform:
//
//	nginx:alpine, docker://ghcr.io/org/app@sha256:…   a registry
//	oci:DIR[:TAG], oci:DIR@sha256:…                   an OCI image layout
//	oci-archive:FILE[:TAG]                            the same in a tar
//	docker-archive:FILE[:NAME:TAG]                    what docker save writes
//	docker-daemon:NAME                                a Docker daemon's store
//
// Formats: https://github.com/opencontainers/image-spec (v1.1), Docker image
// manifest version 2 schema 2, and the archive of docker save. References,
// authentication and the registry protocol are go-containerregistry's; reading
// and checking bytes is done here.
//
// # What is checked
//
// Digest and size of every index, image manifest and config before they are
// used; digest and size of every layer's blob and the digest of its uncompressed
// tar (diffID) while [Layer.Open]'s reader is read. A mismatch is that reader's
// last word instead of io.EOF, so a layer counts only once it has been read to
// its end. An archive of docker save names no digests but the config's: there
// the diffIDs in the config vouch for the layers.
//
// Foreign and encrypted layers, other digests than sha256 and schema 1 manifests
// are refused.
//
// # Limits
//
// [MaxDocument] bytes for a manifest, index or config, [MaxLayers] layers,
// Options.MaxLayerBytes for one layer both compressed and not, a zstd window of
// 64 MiB, [maxArchiveEntries] names in an archive, indexes nested
// [maxIndexDepth] deep, [maxSearched] manifests and indexes read to find one
// image. An open layer takes less than 4 MiB of memory besides a zstd window,
// whatever its size.
//
// # Concurrency
//
// An open layer is read, decompressed and hashed by goroutines of its own, which
// end with the layer's Close. A registry's blobs are downloaded ahead, the last
// layer first, for layers are meant to be applied from the top.
//
// # Determinism and failure
//
// What an Image says depends on the bytes behind the reference and the platform
// alone. [ErrNotFound], [ErrUnauthorized] and [ErrPlatform] tell the causes that
// a user can mend apart; messages say how. A cached blob that turns out to be
// damaged ends its layer with [cache.ErrCorrupt]; opening the layer again
// downloads it anew.
package image
