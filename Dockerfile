# The hub's image: one program, every role (`hub run --role ...`), no compiler, no root.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# The dependencies first: they change seldom and their layer is kept.
COPY requirements/run.txt requirements/build.txt requirements/
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --require-hashes --only-binary=:all: --requirement requirements/build.txt \
    && python -m venv /opt/hub \
    && /opt/hub/bin/pip install --require-hashes --only-binary=:all: --requirement requirements/run.txt
COPY pyproject.toml README.md ./
COPY schemas schemas
COPY routing routing
COPY store store
COPY adapters adapters
COPY hub hub
COPY sandbox sandbox
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
    && /opt/hub/bin/pip install --no-deps /dist/settlement_hub-*.whl \
    && /opt/hub/bin/python -m compileall -q /opt/hub/lib \
    && /opt/hub/bin/pip uninstall --yes --quiet pip

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 hub \
    && useradd --system --uid 10001 --gid hub --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin hub \
    && install --directory --owner=hub --group=hub --mode=0750 /var/lib/sandbox
COPY --from=build /opt/hub /opt/hub
ENV PATH=/opt/hub/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HUB_HTTP_HOST=0.0.0.0 HUB_HTTP_PORT=8080
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["hub", "health"]
ENTRYPOINT ["hub"]
CMD ["run"]
