#!/bin/sh
# From nothing to an answer: makes an image with nginx, builds the plugin in this folder from it,
# boots the plugin in QEMU and waits until nginx serves the page of this folder. For Debian and Ubuntu on amd64.
#
# What it makes stays in .demo beside this script (or in $FLEDGE_DEMO_DIR), so that the next run takes
# seconds. The kernel that it fetches goes to fledge's cache folder, where "fledge boot" finds it
# when Volant's own cannot be downloaded. It installs packages if programs are missing, and uses sudo for that and
# for making the image if you are not root. fledge and QEMU run as you.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
demo=${FLEDGE_DEMO_DIR:-$here/.demo}
go_version=1.26.8
go_sha256=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7
PATH=$PATH:/usr/local/go/bin:/usr/sbin:/sbin

begin=$(date +%s)
say() { printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - begin))"; }
fail() {
	printf '\nFAIL: %s\n' "$*" >&2
	exit 1
}
as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# The kernel and the agent are for amd64.
[ "$(uname -sm)" = "Linux x86_64" ] || fail "this demo needs Linux on amd64"
[ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "neither root nor sudo: the image is made by debootstrap, which needs root"

# packages PROGRAM:PACKAGE... installs the packages of the programs that are missing.
packages() {
	missing=
	for pair; do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
	done
	[ -n "$missing" ] || return 0
	say "installing$missing"
	command -v apt-get >/dev/null || fail "install$missing first: this is not Debian or Ubuntu"
	as_root apt-get update -qq
	# shellcheck disable=SC2086 # a list
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
}

# Any Go since 1.21 fetches the version that go.mod asks for.
new_enough() {
	"$1" version 2>/dev/null | grep -qE 'go1\.(2[1-9]|[3-9][0-9])'
}

# Without Go the distribution's is installed. Where that is too old, the toolchain comes from
# the module proxy that GOPROXY names, if it names one, as it would for a newer Go, and is
# checked against the digest above.
find_go() {
	new_enough go && return 0
	PATH=$demo/go/bin:$PATH
	new_enough go && return 0
	if [ -z "${GOPROXY:-}" ]; then
		packages go:golang-go
		new_enough go || fail "Go 1.21 or later is needed, and your distribution has an older one: install it from https://go.dev/dl"
		return 0
	fi
	packages unzip:unzip curl:curl
	[ -e /etc/ssl/certs/ca-certificates.crt ] || packages no-such-program:ca-certificates
	say "fetching Go $go_version"
	zip=$demo/go.zip
	curl -fsSL -o "$zip" "${GOPROXY%%[,|]*}/golang.org/toolchain/@v/v0.0.1-go$go_version.linux-amd64.zip"
	echo "$go_sha256  $zip" | sha256sum -c --quiet - || fail "Go $go_version has another digest than expected"
	rm -rf "$demo/go" "$demo/unzip"
	unzip -q "$zip" -d "$demo/unzip"
	mv "$demo/unzip/golang.org/toolchain@v0.0.1-go$go_version.linux-amd64" "$demo/go"
	rm -rf "$zip" "$demo/unzip"
	chmod -R +x "$demo/go/bin" "$demo/go/pkg/tool"
}

mkdir -p "$demo/bin"
demo=$(cd "$demo" && pwd)
packages debootstrap:debootstrap umoci:umoci tar:tar qemu-system-x86_64:qemu-system-x86
find_go

say "building fledge"
cd "$repo"
for program in ./cmd/fledge ./internal/e2e/mkimage; do
	CGO_ENABLED=0 go build -trimpath -o "$demo/bin/" "$program"
done
echo "The agent of this demo is the stand-in that the tests use, built from internal/vmtest/testagent."
CGO_ENABLED=0 GOARCH=amd64 go build -trimpath -ldflags '-s -w' -o "$demo/bin/kestrel" ./internal/vmtest/testagent
kernel=${XDG_CACHE_HOME:-$HOME/.cache}/fledge/kernel/vmlinuz-amd64
go mod download github.com/gokrazy/kernel.amd64
mkdir -p "$(dirname "$kernel")"
cp "$(go list -m -f '{{.Dir}}' github.com/gokrazy/kernel.amd64)/vmlinuz" "$kernel.new"
chmod 644 "$kernel.new"
mv "$kernel.new" "$kernel"

say "making an image with nginx from your distribution's packages, as root (about a minute the first time)"
cache=${FLEDGE_TEST_CACHE:-$demo/cache}
image=$(as_root "$demo/bin/mkimage" -cache "$cache" demo)
image=${image#oci:}
image=${image%:latest}
as_root chmod -R a+rX "$image"

# The plugin: the files of this folder, the image and the agent.
plugin=$demo/plugin
rm -rf "$plugin"
mkdir "$plugin"
cp -R "$here/fledge.toml" "$here/default.conf" "$here/html" "$plugin"
cp -R "$image" "$plugin/image"
cp "$demo/bin/kestrel" "$plugin/kestrel"

say "fledge build"
cd "$plugin"
build_begin=$(date +%s%N)
"$demo/bin/fledge" build --config fledge.toml -o nginx.img
build_ms=$((($(date +%s%N) - build_begin) / 1000000))
ls -ls nginx.img
cat manifest.json
echo

say "fledge boot, with a kernel from a Go module and the stand-in agent"
"$demo/bin/fledge" boot nginx.img --kernel "$kernel" --console "$demo/console.log" ||
	fail "the plugin does not boot; the console's output is in $demo/console.log"

say "PASS: built in $build_ms ms as uid $(id -u), booted, answered"
