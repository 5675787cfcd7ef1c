#!/usr/bin/env bash
# Installs the programs that the tests use as second opinions, and that "make
# demo" and "make bench" need, from Debian's or Ubuntu's packages,
# and fetches the modules that they take schemas from.
set -euo pipefail
cd "$(dirname "$0")/.."

# Published JSON schemas, from the modules that ship them.
(cd tools/schemas && go mod download github.com/CycloneDX/cyclonedx-go github.com/anchore/syft)

packages=(
  umoci skopeo            # unpack and copy images, to compare with
  debootstrap             # a real Debian root to build from
  e2fsprogs attr acl      # e2fsck, debugfs, resize2fs; xattrs
  qemu-system-x86 seabios ipxe-qemu # boots plugins
  binutils binutils-aarch64-linux-gnu # assemble the init shim again; strip, ld, readelf
  qemu-user-static        # runs it for arm64
  musl                    # another C library's loader
  rpm db5.3-util          # rpm databases, to compare with
  cpio libarchive-tools gzip pigz zstd busybox-static tar
  mount util-linux shellcheck
)

missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
done
if [ ${#missing[@]} -eq 0 ]; then
  echo "all of ${#packages[@]} packages are installed"
  exit 0
fi
sudo=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "run as root, or install sudo: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q
"${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
