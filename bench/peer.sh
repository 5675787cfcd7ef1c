#!/bin/sh
# The usual way from an OCI image to an ext4 image, with Debian's tools: copy the image, unpack
# it to files, make a file system, mount it, copy the files in. It needs root and a loop device.
#
#   peer.sh LAYOUT TAG WORK OUT
set -eu
layout=$1 tag=$2 work=$3 out=$4
mnt=$work/mnt
mkdir -p "$work" "$mnt"
trap 'mountpoint -q "$mnt" && umount "$mnt"' EXIT
skopeo copy --quiet "oci:$layout:$tag" "oci:$work/layout:$tag"
umoci unpack --image "$work/layout:$tag" "$work/bundle"
# As in the tool that this way is taken from: the tree's size and a buffer.
size=$(du -sm --apparent-size "$work/bundle/rootfs" | cut -f1)
truncate -s $((size + size / 5 + 100))M "$out"
mkfs.ext4 -q -F -b 4096 "$out"
mount -o loop "$out" "$mnt"
cp -a "$work/bundle/rootfs/." "$mnt/"
umount "$mnt"
