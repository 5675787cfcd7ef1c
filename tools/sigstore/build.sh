#!/usr/bin/env bash
# Builds the programs of internal/sigstoretest from the Go module proxy, into
# FLEDGE_SIGSTORE_TOOLS or the user's cache folder. What is there already and made
# from the same pins is kept.
#
# They are built without optimisation and debug information: that takes a third less
# time, and no test measures them.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")"

out=${FLEDGE_SIGSTORE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fledge-sigstore}
mkdir -p "$out"
made=$(mktemp -d "$out/building.XXXXXX")
trap 'rm -rf "$made"' EXIT

# build FOLDER NAME=PACKAGE... builds packages in the module of a folder, all at once. The
# suffix of a file's name says what it was made from; internal/sigstoretest knows it too.
build() {
  local folder=$1 key pair name missing=()
  shift
  key=$(cat "$folder"/go.mod "$folder"/go.sum "$folder"/*/main.go | sha256sum | cut -c1-12)
  for pair in "$@"; do
    name=${pair%%=*}
    if [ -x "$out/$name-$key" ]; then
      echo "$out/$name-$key is there"
    else
      missing+=("$pair")
    fi
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "building ${missing[*]%%=*}"
  CGO_ENABLED=0 go build -C "$folder" -ldflags='-s -w' -gcflags='all=-N -l -dwarf=false' -o "$made/" "${missing[@]#*=}"
  for pair in "${missing[@]}"; do
    name=${pair%%=*}
    find "$out" -maxdepth 1 -name "$name-*" -delete
    mv "$made/$(basename "$pair")" "$out/$name-$key"
  done
}

build . \
  rekor-server=github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix \
  timestamp-server=./timestamp-server \
  fulcio=github.com/sigstore/fulcio \
  cosign3=github.com/sigstore/cosign/v3/cmd/cosign
build cosign2 cosign2=github.com/sigstore/cosign/v2/cmd/cosign
