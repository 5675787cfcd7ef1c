// Package actionimage makes the image that a release's action.yml names by digest: an
// OCI index of one image each for linux/amd64 and linux/arm64, of the same files and
// configuration as the Dockerfile's. An image has two layers: what package tools takes
// from Debian for xfs and btrfs, which is the same for many releases, and on top of it
// the program.
//
// It needs no Docker. The same source and Go version give the same digest: times are
// the epoch, owners root, order and modes fixed, and of the environment only where Go
// finds modules and keeps its cache reaches the compiler. GOFLAGS, GOENV files, go.work,
// GOAMD64 and the like do not, nor do the umask and the folder's name.
package actionimage
