#!/usr/bin/env bash
# Builds act, which runs workflows on a Docker daemon, from the Go module proxy, into
# FLEDGE_ACT_TOOLS or the user's cache folder. What is there already and made from the
# same pins is kept.
#
# It is built without optimisation and debug information: 100 s of CPU time from nothing,
# and no test measures it.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")"

out=${FLEDGE_ACT_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/fledge-act}
# The suffix says what it was made from; internal/acttest knows it too.
key=$(cat go.mod go.sum | sha256sum | cut -c1-12)
if [ -x "$out/act-$key" ]; then
  echo "$out/act-$key is there"
  exit
fi
mkdir -p "$out"
made=$(mktemp -d "$out/building.XXXXXX")
trap 'rm -rf "$made"' EXIT
echo "building act"
CGO_ENABLED=0 go build -ldflags='-s -w' -gcflags='all=-N -l -dwarf=false' -o "$made/" github.com/nektos/act
find "$out" -maxdepth 1 -name 'act-*' -delete
mv "$made/act" "$out/act-$key"
