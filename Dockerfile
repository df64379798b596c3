# One image for every role: `docker run IMAGE worker`, `… db upgrade`, `… flower`.
#
# The base is named by its digest, as the Docker Official Images project records it for
# python:3.13-slim-trixie (Python 3.13.14): docker-library/repo-info, commit
# 2986dca3a80cb11b70fc4599941096374ea9e509, repos/python/remote/3.13-slim-trixie.md
FROM python:3.13.14-slim-trixie@sha256:9662417aace5ae7b8e2609cce472b72a8958e134ba372808abe9cc1a0c0125e6 AS base


FROM base AS build
WORKDIR /build
# What changes seldom comes first: every package, in the version and with the hash that
# requirements.txt states. Wheels alone, as nothing here can compile.
COPY requirements.txt requirements-dev.txt ./
RUN python -m venv --without-pip /opt/plans \
    && python -m pip --python /opt/plans/bin/python install --no-cache-dir \
        --disable-pip-version-check --require-hashes --only-binary :all: \
        --requirement requirements.txt \
    && python -m pip install --no-cache-dir --disable-pip-version-check \
        --root-user-action ignore --constraint requirements-dev.txt hatchling
COPY pyproject.toml README.md LICENSE celeryconfig.py ./
COPY celery_plans celery_plans
COPY celery_plans_pytest celery_plans_pytest
COPY examples/stdlib_census examples/stdlib_census
COPY execution execution
COPY migrations migrations
COPY workers workers
# The root of a container may be read-only: bytecode that is not there now never is.
RUN python -m pip wheel --no-cache-dir --disable-pip-version-check --no-deps \
        --no-build-isolation --wheel-dir /wheels . \
    && python -m pip --python /opt/plans/bin/python install --no-cache-dir \
        --disable-pip-version-check --no-deps /wheels/*.whl \
    && /opt/plans/bin/python -m compileall -q /opt/plans/lib


FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="celery-plans" \
      org.opencontainers.image.description="Durable multi-step plans on the Celery, Redis and PostgreSQL that you already run." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13.14-slim-trixie"
# The number is part of what is promised: volumes and secrets are given to it.
RUN groupadd --gid 10001 plans \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin plans \
    && install --directory --owner 10001 --group 10001 /var/lib/celery-plans \
    && install --directory /actions
COPY --from=build /opt/plans /opt/plans
ENV PATH=/opt/plans/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Where `plans worker` looks for the modules that PLANS_IMPORTS names.
WORKDIR /actions
USER 10001:10001
ENTRYPOINT ["plans"]
CMD ["--help"]
