#!/usr/bin/env bash
# Runs every fuzz target of the module for $FUZZTIME each, as many at a time as there
# are processors.
set -euo pipefail
cd "$(dirname "$0")/.."
export FUZZTIME=${FUZZTIME:-20s}

# fuzz FOLDER TARGET. "go test" sometimes reports the end of the time as a failure,
# when it comes in the middle of an input.
# A real failure names the input that it has written.
fuzz() {
  local out
  if out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -parallel 1 -fuzzminimizetime 20x "$1" </dev/null 2>&1); then
    out=$(tail -n 2 <<<"$out")
  elif grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input written' <<<"$out"; then
    out="ok  	$2: the time ended in the middle of an input"
  else
    printf '== %s in %s failed\n%s\n' "$2" "$1" "$out"
    return 1
  fi
  printf '== %s in %s for %s\n%s\n' "$2" "$1" "$FUZZTIME" "$out"
}
export -f fuzz

grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9]+' "$file" | cut -d' ' -f2 | while read -r target; do
    echo "$(dirname "$file") $target"
  done
done | xargs -P "$(nproc)" -n 2 bash -c 'fuzz "$@"' fuzz
