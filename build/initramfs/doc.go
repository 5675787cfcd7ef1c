// Package initramfs writes a tree as the archive that a kernel unpacks at boot.
package initramfs
