#!/usr/bin/env bash
# Builds the programs of internal/sigstoretest from the Go module proxy, into
# FLEDGE_SIGSTORE_TOOLS or the user's cache folder. What is there already and made
# from the same pins is kept. "build.sh servers" leaves the cosigns out.
#
# They are built without optimisation and debug information: that takes a third less
# time, and no test measures them.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")"

out=${FLEDGE_SIGSTORE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fledge-sigstore}
mkdir -p "$out"

# build NAME FOLDER PACKAGE builds a package in the module of a folder. The suffix of
# the file's name says what it was made from; internal/sigstoretest knows it too.
build() {
  local name=$1 folder=$2 package=$3 key target
  key=$(cat "$folder"/go.mod "$folder"/go.sum "$folder"/*/main.go | sha256sum | cut -c1-12)
  target=$out/$name-$key
  if [ -x "$target" ]; then
    echo "$target is there"
    return
  fi
  echo "building $target"
  CGO_ENABLED=0 go build -C "$folder" -ldflags='-s -w' -gcflags='all=-N -l -dwarf=false' -o "$target.$$" "$package"
  mv "$target.$$" "$target"
  find "$out" -maxdepth 1 -name "$name-*" ! -name "$name-$key" -delete
}

build rekor-server . github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix
build timestamp-server . ./timestamp-server
build fulcio . github.com/sigstore/fulcio
if [ "${1:-}" != servers ]; then
  build cosign3 . github.com/sigstore/cosign/v3/cmd/cosign
  build cosign2 cosign2 github.com/sigstore/cosign/v2/cmd/cosign
fi
