#!/usr/bin/env bash
# commit.sh VERSION IMAGE: two commits on top of HEAD, on no branch, and the tag VERSION at
# the second. See doc.go.
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"
version=$1 image=$2

[ -z "$(git status --porcelain --untracked-files=no)" ] || { echo "there are changes that are not committed" >&2; exit 1; }
# Who made a release is known from its signatures.
export GIT_AUTHOR_NAME='github-actions[bot]' GIT_AUTHOR_EMAIL='41898282+github-actions[bot]@users.noreply.github.com'
export GIT_COMMITTER_NAME=$GIT_AUTHOR_NAME GIT_COMMITTER_EMAIL=$GIT_AUTHOR_EMAIL

git checkout -q --detach
go run ./internal/pin image "$image"
git commit -q -m "Run the image of $version" -- action.yml verify/action.yml
go run ./internal/pin uses "$version" "$(git rev-parse HEAD)"
git commit -q -m "Use the action of $version in the reusable workflow" -- .github/workflows/fledge-release.yml
git tag -a -m "$version" "$version"
