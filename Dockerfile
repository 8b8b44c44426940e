# Gantry's image. `docker build -t gantry .` makes the production one, `--target dev` the one for `skaffold dev`; see docs/image.md.
#
# The interpreter comes from this image, and so do `sh` and `sleep`, which drain a pod. A mirror's name can stand here.
ARG PYTHON_IMAGE=python:3.13-slim

# --- What builds: nothing of it is in the result ----------------------------------------------------------------------
# Indexes are set as uv knows them, such as `--build-arg UV_DEFAULT_INDEX=https://mirror.example/simple`.
FROM ${PYTHON_IMAGE} AS build
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV UV_PROJECT_ENVIRONMENT=/opt/gantry \
    UV_PYTHON=/opt/gantry/bin/python \
    UV_PYTHON_DOWNLOADS=never \
    UV_LINK_MODE=copy \
    UV_SYSTEM_CERTS=1
WORKDIR /build
RUN python -m venv --without-pip /opt/gantry && rm -r /opt/gantry/bin/*ctivate* /opt/gantry/.gitignore
COPY uv.lock ./
RUN --mount=type=cache,target=/root/.cache \
    version=$(sed -n '/^name = "uv"$/ { n; s/version = "\(.*\)"/\1/p; }' uv.lock) \
    && pip install --disable-pip-version-check --root-user-action=ignore "uv==$version"

# The dependencies as uv.lock has them, without the project: this layer is made again only when they change. Their own tests, the
# C sources of what is compiled already, and all languages but Python that tracebacks could be coloured in, are left out.
FROM build AS dependencies
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache \
    uv sync --frozen --no-default-groups --no-install-project --compile-bytecode \
    && cd /opt/gantry && rm -rf .lock include \
    && find lib -type d \( -name tests -o -name testing \) -prune -exec rm -r {} + \
    && find lib -type f \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.pxd' \) -delete \
    && find lib -path '*/pygments/lexers/*' -type f ! -name '__init__.*' ! -name '_mapping.*' ! -name 'python.*' -delete

FROM dependencies AS dev-dependencies
RUN --mount=type=cache,target=/root/.cache \
    uv sync --frozen --no-default-groups --group reload --no-install-project --compile-bytecode

# The project as a wheel, so that its metadata (the version) is there, in a folder of its own that becomes a small layer.
FROM build AS project
COPY pyproject.toml ./
RUN --mount=type=cache,target=/root/.cache \
    python -m venv --without-pip /builder && UV_PROJECT_ENVIRONMENT=/builder uv sync --frozen --only-group build --python /builder/bin/python
COPY README.md LICENSE ./
COPY app app
# Bytecode names the files by where they will be, for tracebacks.
RUN uv build --wheel --python /builder/bin/python --no-build-isolation --offline --no-cache --out-dir /wheel \
    && uv pip install --no-deps --no-index --no-cache --prefix /project /wheel/*.whl \
    && python -m compileall -q -s /project -p /opt/gantry /project/lib \
    && rm -f /project/.lock /project/.gitignore

# --- What runs --------------------------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE} AS runtime
# The base image has an installer, which has no use in here, and no bytecode of its library, which would then be compiled at each start.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
    && python -m compileall -q -x '/(idlelib|pydoc_data|site-packages|test|tkinter|turtledemo)/' /usr/local/lib/python3*/
# All bytecode is there already, and the file system may be read-only.
ENV PATH=/opt/gantry/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# The API, and probes with metrics.
EXPOSE 8000 9000
STOPSIGNAL SIGTERM
ENTRYPOINT ["gantry"]
CMD ["serve"]

# For `skaffold dev`: sources in a folder that its user may write to and that is imported from, `watchfiles` for a restart after
# each change, and `debugpy`. `serve` alone does not watch: docs/image.md has the commands that do.
FROM runtime AS dev
COPY --from=dev-dependencies /opt/gantry /opt/gantry
COPY --from=project /project /opt/gantry
COPY --chown=10001:10001 app /srv/gantry/app
ENV PYTHONPATH=/srv/gantry
USER 10001:10001
# The debugger, when one was asked for.
EXPOSE 5678

FROM runtime AS production
COPY --from=dependencies /opt/gantry /opt/gantry
COPY --from=project /project /opt/gantry
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
ARG VERSION=
ARG REVISION=
# Shown by /metrics (gantry_build_info).
ENV GANTRY_REVISION="${REVISION}"
LABEL org.opencontainers.image.title="gantry" \
      org.opencontainers.image.description="A production platform for a Python API on Kubernetes" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
