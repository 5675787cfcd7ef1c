#!/usr/bin/env bash
# Installs the programs that the tests use as second opinions, and that "make
# demo" and "make bench" need: from Debian's or Ubuntu's packages, what
# tools/npm/package-lock.json lists from npm into tools/npm/node_modules, and the Go
# modules that ship published JSON schemas.
set -euo pipefail
cd "$(dirname "$0")"

packages=(
  umoci skopeo            # unpack and copy images, to compare with
  debootstrap             # a real Debian root to build from
  e2fsprogs attr acl      # e2fsck, debugfs, resize2fs; xattrs
  qemu-system-x86 seabios ipxe-qemu # boots plugins
  binutils binutils-aarch64-linux-gnu # assemble the init shim again; strip, ld, readelf
  qemu-user-static        # runs it for arm64
  musl                    # another C library's loader
  rpm db5.3-util          # rpm databases, to compare with
  squashfs-tools          # unsquashfs, mksquashfs
  xfsprogs btrfs-progs    # mkfs, and what checks xfs and btrfs
  cpio libarchive-tools gzip pigz zstd busybox-static tar
  mount util-linux file shellcheck python3
)

# Other sources' Docker brings its own containerd and runc along, and conflicts with
# docker.io. Tests start a daemon of their own; the service need not run.
command -v dockerd >/dev/null || [ -x /usr/sbin/dockerd ] || packages+=(docker.io)

# Other sources' nodejs brings npm along, and conflicts with the package npm.
command -v npm >/dev/null || packages+=(nodejs npm)

install_packages() {
  local missing=() sudo=() p
  for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
  done
  if [ ${#missing[@]} -eq 0 ]; then
    echo "all of ${#packages[@]} packages are installed"
    return
  fi
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "run as root, or install sudo: apt-get install ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# install_modules does nothing when what is there is what the lock file lists. No
# module's own scripts are run.
install_modules() {
  local installed=npm/node_modules/.package-lock.json
  if [ "$installed" -nt npm/package-lock.json ]; then
    echo "the modules of tools/npm are installed"
    return
  fi
  npm ci --prefix npm --ignore-scripts --no-audit --no-fund
}

install_packages
install_modules
(cd schemas && go mod download github.com/CycloneDX/cyclonedx-go github.com/anchore/syft)
# The packages that the action's image has parts of.
(cd .. && go run ./internal/actionimage/tools/relock -cache)
