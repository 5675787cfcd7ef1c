#!/usr/bin/env bash
# Runs every fuzz target of the module for $FUZZTIME each.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${FUZZTIME:=20s}"

# fuzz FOLDER TARGET. "go test" sometimes reports the end of the time as a failure,
# when it comes in the middle of an input.
# A real failure names the input that it has written.
fuzz() {
  local out
  if out=$(go test -run '^$' -fuzz "^$2\$" -fuzztime "$FUZZTIME" -fuzzminimizetime 20x "$1" </dev/null 2>&1); then
    tail -n 2 <<<"$out"
  elif grep -q 'context deadline exceeded' <<<"$out" && ! grep -q 'Failing input written' <<<"$out"; then
    echo "ok  	$2: the time ended in the middle of an input"
  else
    printf '%s\n' "$out"
    return 1
  fi
}

grep -rlE '^func Fuzz[A-Z]' --include='*_test.go' . | sort | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9]+' "$file" | cut -d' ' -f2 | while read -r target; do
    echo "== $target in $(dirname "$file") for $FUZZTIME"
    fuzz "$(dirname "$file")" "$target"
  done
done
