# The image of shuren: operator, load balancer with HAProxy, DNS, sandbox engine. docker build -t shurenyun/shuren:0.1.0 .
#
# BASE is any Debian with Python 3.11: pin it by digest (--build-arg BASE=python@sha256:…). Without a network give the build a directory
# wheels/ with every package of image/*.txt and pip, and a base that has HAProxy (make image does both).
ARG BASE=python:3.11-slim-bookworm

# ---------------------------------------------------------------------------------------------------------------- packages
FROM ${BASE} AS build
WORKDIR /src
# the * lets it be absent
COPY wheel[s] /wheels/
COPY image image
RUN set -eu; \
    if ls /wheels/pip-*.whl >/dev/null 2>&1; then pip="python3 $(echo /wheels/pip-*.whl)/pip"; from="--no-index --find-links=/wheels"; \
    else pip="python3 -m pip"; from=""; fi; \
    for place in /build /opt/shuren; do python3 -m venv --without-pip $place; done; \
    options="--disable-pip-version-check --no-cache-dir --quiet --no-deps --require-hashes --only-binary=:all: $from"; \
    $pip --python /build/bin/python install $options -r image/build.txt; \
    $pip --python /opt/shuren/bin/python install $options -r image/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN set -eu; \
    # no compiler here, so the wheel is pure Python; the image has xxhash instead of the accelerator
    /build/bin/python -m hatchling build -t wheel -d /dist; \
    if ls /wheels/pip-*.whl >/dev/null 2>&1; then pip="python3 $(echo /wheels/pip-*.whl)/pip"; else pip="python3 -m pip"; fi; \
    $pip --python /opt/shuren/bin/python install --disable-pip-version-check --no-cache-dir --quiet --no-deps --no-index /dist/*.whl; \
    /opt/shuren/bin/shuren version

# ---------------------------------------------------------------------------------------------------------------- what runs
FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="shuren" \
      org.opencontainers.image.description="Shuren (数人云): a declarative PaaS over Apache Mesos and Marathon" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Shuren maintainers" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN command -v haproxy >/dev/null || \
    { apt-get update && apt-get install -y --no-install-recommends haproxy && rm -rf /var/lib/apt/lists/*; }
# nobody becomes anybody else in here
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=build /opt/shuren /opt/shuren
# nothing is written but what is mounted: the root file system may be read-only. Programs that ask for their user's name get one
# whatever its number
ENV PATH=/opt/shuren/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp USER=shuren LOGNAME=shuren \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["shuren"]
CMD ["operator"]
