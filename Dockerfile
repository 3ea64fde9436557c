# One image for every role: `docker build --tag saga .`, then `docker run saga orchestrator`.
#
# Plain stages only, no cache mounts, so that an engine without BuildKit builds it too.

# What the dependencies are, and nothing of our code but that there is some: a change in our code
# leaves this stage's result, and so the dependencies' layer, as it was.
FROM rust:1.95.0-slim-trixie AS manifests
WORKDIR /source
COPY . .
RUN mkdir /manifests \
    && find . -name Cargo.toml -o -name Cargo.lock -o -name rust-toolchain.toml \
        | xargs cp --parents --target-directory /manifests \
    && find . -path '*/src/lib.rs' | while read -r file; do \
        mkdir -p "/manifests/${file%/*}" && : > "/manifests/$file"; done \
    && find . -path '*/src/main.rs' -o -path '*/src/bin/*.rs' -o -path './tests/*/main.rs' -o -name build.rs \
        | while read -r file; do \
        mkdir -p "/manifests/${file%/*}" && echo 'fn main() {}' > "/manifests/$file"; done

FROM rust:1.95.0-slim-trixie AS build
# The bundled SQLite needs a C compiler. `COPY` below stays out of this layer's way.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Line tables would be most of the image; a panic names its line without them.
# The toolchain is the image's own: rust-toolchain.toml would add what only developing needs.
ENV CARGO_PROFILE_RELEASE_DEBUG=false SQLX_OFFLINE=true RUSTUP_TOOLCHAIN=1.95.0
COPY --from=manifests /manifests .
RUN cargo build --release --locked --package saga --bin saga
COPY . .
# Cargo goes by the clock: the sources must be newer than what stood in for them.
RUN find . -path ./target -prune -o -type f -exec touch {} + \
    && cargo build --release --locked --package saga --bin saga \
    && strip --strip-debug target/release/saga

FROM debian:13.6-slim
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/saga saga \
    && install --directory --owner saga --group saga --mode 0750 /var/lib/saga
COPY --from=build /build/target/release/saga /usr/local/bin/saga
USER saga
WORKDIR /var/lib/saga
ENTRYPOINT ["saga"]
CMD ["--help"]
# By gRPC's own health service. Roles on other ports say so in docker-compose.yml.
HEALTHCHECK --interval=5s --timeout=6s --start-period=30s --retries=3 CMD ["saga", "health"]
