# The image of the action when it is used from a branch; releases use one that
# internal/actionimage made, of the same files, by its digest.
#
# Go's image is pinned by the digest of its index. To renew it: the digest that
# "docker buildx imagetools inspect golang:VERSION-bookworm" prints.
#
# TOOLS are flags of internal/actionimage/tools/unpack, for packages that lie elsewhere
# than in Debian's snapshots.
FROM golang:1.26.8-bookworm@sha256:a688600ca24f8a4d3ca77f95b0dd40704a9fc787c826660eb7ba0b641b8b175d AS build
WORKDIR /src
COPY . .
ENV CGO_ENABLED=0 GOFLAGS=-mod=readonly
ARG TOOLS=""
RUN go run -trimpath -buildvcs=false ./internal/actionimage/tools/unpack $TOOLS -o /tools
RUN go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o /image/usr/local/bin/fledge ./cmd/fledge && mkdir -m 1777 /image/tmp

# Beside fledge what makes and checks xfs and btrfs, with its libraries. No shell, no CA
# file: fledge has roots of its own. The action runs as root, since a runner's workspace
# and files are another user's.
FROM scratch
LABEL org.opencontainers.image.title="fledge" \
      org.opencontainers.image.description="Builds bootable Volant plugins" \
      org.opencontainers.image.source="https://github.com/volant/fledge-action" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /tools/ /
COPY --from=build /image/ /
ENTRYPOINT ["/usr/local/bin/fledge", "action"]
