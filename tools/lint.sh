#!/usr/bin/env bash
# Everything that is checked without running the program. Each check runs; the
# script fails if one did.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
cd "$(dirname "$0")/.." || exit
tool() { go tool -modfile=tools/go.mod "$@"; }
failed=0
check() {
  local name=$1 out
  shift
  if ! out=$("$@" 2>&1); then
    failed=1
    printf 'lint: %s\n%s\n' "$name" "$out" >&2
  fi
}
quiet() { # fails when the command prints something on standard output
  local out
  out=$("$@") || { printf '%s\n' "$out"; return 1; }
  [ -z "$out" ] || { printf '%s\n' "$out"; return 1; }
}
go_files() { git ls-files --cached --others --exclude-standard '*.go'; }
format() { go_files | xargs go tool -modfile=tools/go.mod gofumpt -l; }
plain_format() { go_files | xargs gofmt -l; }
scripts() { git ls-files --cached --others --exclude-standard '*.sh' .ci/run | xargs shellcheck; }
workflows() { tool actionlint -no-color .github/workflows/*.yml examples/workflows/*.yml; }
quiet_skips() { ! git grep -nE '\.Skip(f|Now)?\(' -- '*.go' | grep -vF '("SKIP: '; }
left_open() { ! git grep -nE '\b(TODO|FIXME|XXX)\b' -- '*.go' '*.sh' ':!tools/lint.sh'; }
large() { git ls-files -z | xargs -0 -r du -k | awk '$1 > 1024 { print; bad = 1 } END { exit bad }'; }

check "format (gofumpt -w)" quiet format
check "format (gofmt -w)" quiet plain_format # the two align some tables differently
check "go vet" go vet ./...
check "staticcheck" tool staticcheck ./...
check "go.mod (go mod tidy)" go mod tidy -diff
check "go mod verify" go mod verify
check "shellcheck" scripts
check "actionlint" workflows
check "skips whose text does not begin with \"SKIP: \"" quiet_skips
check "left open" left_open
check "files over 1 MiB" large
[ "$failed" -eq 0 ] && echo "lint: ok"
exit "$failed"
