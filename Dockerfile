# syntax=docker/dockerfile:1
#
# The image: one static binary, the CA bundle, and four short files in /etc. No shell, no package manager, no libraries.
#
#   docker build -t barnabas .
#   docker run --rm barnabas topics list -b broker:9092
#
# Instead of being built, the first stage can be given as a directory; CI does so, where no registry can be reached:
#
#   scripts/image-root "$(scripts/build-static)" target/image/rootfs
#   buildah bud --build-context root=target/image -t barnabas .

FROM docker.io/library/rust:1.95-slim-bookworm AS root
WORKDIR /src
COPY . .
# This base has what the build needs, libc6-dev and libgcc-12-dev; no C compiler is called (docs/building.md).
RUN binary="$(scripts/build-static)" && scripts/image-root "$binary" /rootfs

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="barnabas" \
      org.opencontainers.image.description="Publish and process domain events through Apache Kafka: one static, pure-Rust binary" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=root /rootfs/ /
# By number, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
ENTRYPOINT ["/barnabas"]
