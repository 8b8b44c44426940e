# Gantry. `make` lists what there is. It needs only Python >= 3.12, make and a package index: no Docker, no root. Except for what
# runs on Kubernetes (cluster, deploy, observability, e2e, cluster-down), which needs kubectl and helm, and Docker with kind unless KUBECONFIG names a cluster.

PORT       ?= 8000
ADMIN_PORT ?= 9000

# For Kubernetes; k8s/README.md explains them. The host's network, so that a build reaches a mirror or proxy that only this machine reaches.
CLUSTER_SCRIPT     ?= k8s/kind.sh
DOCKER_BUILD_FLAGS ?= --network=host
export CLUSTER_SCRIPT DOCKER_BUILD_FLAGS

# Tools are called through this interpreter, so that a checkout that was moved still works.
PYTHON      := .venv/bin/python
ENVIRONMENT := .venv/.synced

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run key test test-browser cluster deploy observability e2e cluster-down fuzz bench-read bench-tax lint types format docs clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

run: $(ENVIRONMENT)  ## start everything on 127.0.0.1:8000 until Ctrl-C (other ports: PORT=8080 ADMIN_PORT=9090; spans: TRACE_CONSOLE=1)
	@$(PYTHON) -m app.dev run --port $(PORT) --admin-port $(ADMIN_PORT) --stop-with-parent $(if $(TRACE_CONSOLE),--trace-console)

key:  ## print a fresh development key with every scope for the running `make run`, and nothing else
	@test -x $(PYTHON) || { echo 'make key: nothing is running here; start it with `make run`' >&2; exit 1; }
	@$(PYTHON) -m app.dev key

test: $(ENVIRONMENT)  ## lint, types and the test suite on a real PostgreSQL
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(PYTHON) -m pytest -n 2 --cov --cov-report=term --cov-fail-under=95

test-browser: $(ENVIRONMENT)  ## the tests that need a real browser
	$(PYTHON) -m pytest tests/browser

cluster: $(ENVIRONMENT)  ## a kind cluster for development, or the one of KUBECONFIG made ready: ingress, metrics, secrets
	@k8s/cluster.sh

deploy: $(ENVIRONMENT)  ## image, PostgreSQL and chart on it; ends with what the README's tour begins with
	@k8s/deploy.sh

observability: $(ENVIRONMENT)  ## Prometheus and an OpenTelemetry collector on it, which the release tells everything
	@k8s/observability.sh

e2e: $(ENVIRONMENT)  ## tests on the cluster, which they need for themselves: upgrades under load, autoscaling, failures (25 minutes)
	@k8s/e2e.sh

cluster-down:  ## away with the kind cluster; from a cluster of KUBECONFIG only what deploy and observability put there
	@k8s/down.sh

fuzz: $(ENVIRONMENT)  ## schemathesis in full against a running gunicorn: a table of statuses per operation
	$(PYTHON) -m tests.fuzz

bench-read: $(ENVIRONMENT)  ## CPU cost of the uncached read beside the same read written the common way: a table
	$(PYTHON) -m loadtests.uncached_read

bench-tax: $(ENVIRONMENT)  ## CPU cost of telemetry: everything on beside everything off, and each signal: tables
	$(PYTHON) -m loadtests.telemetry_tax

lint: $(ENVIRONMENT)  ## style and likely mistakes (ruff)
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check

types: $(ENVIRONMENT)  ## types (mypy --strict)
	$(PYTHON) -m mypy

format: $(ENVIRONMENT)  ## format the code and repair what ruff can repair
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: $(ENVIRONMENT)  ## write what is derived from the code: docs/openapi.json, the tables of README.md and docs/
	$(PYTHON) -m app.dev.reference

clean:  ## back to a fresh clone: removes environment, caches, build/ and the data of `make run` (stop it first)
	@if [ -d .dev ] && [ -x $(PYTHON) ]; then $(PYTHON) -m app.dev clean; fi
	rm -rf .dev .venv build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find app tests loadtests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# --- The environment: .venv, made once and brought to uv.lock whenever that changes -----------------------------------

# Each candidate is tried by running it: pyenv has commands for versions that are not selected, and they fail.
CANDIDATES := python3.13 python3.12 python3.14 python3 python "$$HOME"/.pyenv/versions/*/bin/python3
FITS       := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))
BEGIN       = begun=$$(date +%s); printf '  %-58s '
DONE        = printf '%3d s\n' $$(( $$(date +%s) - begun ))

$(PYTHON):
	@for python in $(CANDIDATES); do \
		"$$python" -c '$(FITS)' 2>/dev/null || continue; \
		$(BEGIN) "make .venv with $$("$$python" --version)"; \
		"$$python" -m venv --clear .venv && $(DONE); exit; \
	done; \
	echo 'No Python >= 3.12 with venv and ensurepip was found. Install one (Debian: apt install python3 python3-venv).' >&2; exit 1

$(ENVIRONMENT): $(PYTHON) pyproject.toml uv.lock
	@$(PYTHON) -c 'import pip; $(FITS)' || { echo '.venv is broken, or its Python too old: rm -r .venv, then once more.' >&2; exit 1; }
	@$(BEGIN) 'install uv'; version=$$(sed -n '/^name = "uv"$$/ { n; s/version = "\(.*\)"/\1/p; }' uv.lock); \
	$(PYTHON) -m pip install --quiet --disable-pip-version-check "uv==$$version" && $(DONE)
	@$(BEGIN) 'install the packages of uv.lock'; \
	UV_PROJECT_ENVIRONMENT=.venv .venv/bin/uv sync --quiet --frozen --python $(PYTHON) --no-python-downloads && $(DONE)
	@touch $@
