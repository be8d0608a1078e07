# The images of the webhook and of the CLI, for those who build with docker or buildah:
#
#   docker buildx build --target webhook --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 -t NAME .
#   docker buildx build --target cli --platform linux/amd64,linux/arm64 --build-arg VERSION=0.1.0 -t NAME .
#
# `make image` makes the same with Go alone: the same files, byte for byte where the Go is the same, under the same
# user and labels. Its archives also have the same digest each time, which docker's haven't: docker writes down when
# it built. A test holds this file to what `make image` does.

# Builds on the machine's own platform, for any: Go needs no emulator.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26.8 AS build
WORKDIR /src
COPY . .
ARG TARGETARCH
ARG VERSION=unknown
ENV CGO_ENABLED=0 GOTOOLCHAIN=local
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir /out && \
    go run ./hack/image -print-certificates >/out/ca-certificates.crt && \
    GOOS=linux GOAMD64=v1 GOARM64=v8.0 GOARCH=$TARGETARCH \
      go build -trimpath -buildvcs=false -ldflags "-X main.version=$VERSION" -o /out/ ./cmd/webhook ./cmd/pratique && \
    chmod 0444 /out/ca-certificates.crt && \
    chmod 0555 /out/webhook /out/pratique

FROM scratch AS cli
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title=pratique-cli
LABEL org.opencontainers.image.version=$VERSION
LABEL org.opencontainers.image.revision=$REVISION
LABEL org.opencontainers.image.source=https://github.com/pratique-dev/pratique
LABEL org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/pratique /pratique
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/pratique"]

# The last one is what is built without --target.
FROM scratch AS webhook
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title=pratique-webhook
LABEL org.opencontainers.image.version=$VERSION
LABEL org.opencontainers.image.revision=$REVISION
LABEL org.opencontainers.image.source=https://github.com/pratique-dev/pratique
LABEL org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/webhook /webhook
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/webhook"]
