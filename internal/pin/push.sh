#!/usr/bin/env bash
# push.sh [--force] REF: pushes a ref by the deploy key in DEPLOY_KEY, a private key that may
# write to GITHUB_REPOSITORY.
set -euo pipefail
force=()
if [ "$1" = --force ]; then
  force=(--force)
  shift
fi
[ -n "${DEPLOY_KEY:-}" ] || { echo "the secret RELEASE_DEPLOY_KEY is not set; see CONTRIBUTING.md" >&2; exit 1; }

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
(umask 077 && printf '%s\n' "$DEPLOY_KEY" >"$dir/key")
echo 'github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl' >"$dir/known_hosts"
export GIT_SSH_COMMAND="ssh -F none -i $dir/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$dir/known_hosts -o StrictHostKeyChecking=yes"
git push "${force[@]}" "git@github.com:${GITHUB_REPOSITORY}.git" "$1"
