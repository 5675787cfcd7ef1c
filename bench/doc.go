// Bench measures fledge beside a floor and a peer and writes the result into
// docs/benchmarks.md, which also has the method.
//
//	go run ./bench [-n 5] [-small] [-images small,big,huge] [-doc docs/benchmarks.md]
//	go run ./bench -archive [-n 5] [-doc docs/benchmarks.md]
//	go run ./bench -initramfs [-n 5] [-doc docs/benchmarks.md]
//	go run ./bench -formats [-n 5] [-doc docs/benchmarks.md]
//
// With -archive it measures the compression of initramfs archives, with -initramfs
// whole builds of them, with -formats whole builds of squashfs, xfs and btrfs images beside umoci and
// mksquashfs, or a loop mount and cp.
//
// The floor is bench/floor, the peer bench/peer.sh. The peer and the making of the images need
// root. Nothing here passes or fails on a time.
package main
