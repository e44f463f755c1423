# jotd and the libraries it links with, on Debian 12's slim image. Runs as user 10001 and writes
# only to /var/lib/jotd:
#   docker run --read-only -v spool:/var/lib/jotd/spool -v keys:/var/lib/jotd/keys -e DATABASE_URL=…
# Pinned, so that all builds start from the same image; take a newer one for its fixes.
ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
FROM $BASE AS build
RUN apt-get update && apt-get install -y --no-install-recommends \
        gcc libc6-dev cmake ninja-build pkg-config libh2o-evloop-dev libjwt-dev libpq-dev \
        libhiredis-dev libssl-dev libjansson-dev libyaml-dev libsystemd-dev zlib1g-dev \
        uthash-dev libcmocka-dev
WORKDIR /src
COPY . .
RUN cmake --preset release && cmake --build build --target jotd && strip build/jotd

FROM $BASE
RUN apt-get update && apt-get install -y --no-install-recommends \
        libh2o-evloop0.13 libjwt0 libpq5 libhiredis0.14 libssl3 libjansson4 libyaml-0-2 libsystemd0 \
        zlib1g && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/jotd \
        --shell /usr/sbin/nologin jotd && \
    install -d -m 700 -o jotd -g jotd /var/lib/jotd /var/lib/jotd/keys /var/lib/jotd/spool
COPY --from=build /src/build/jotd /usr/bin/jotd
ENV JOTD_LISTEN=0.0.0.0:8080 \
    JOTD_KEYS_DIR=/var/lib/jotd/keys \
    JOTD_SPOOL_DIR=/var/lib/jotd/spool
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["jotd", "healthcheck"]
ENTRYPOINT ["jotd"]
CMD ["serve"]
