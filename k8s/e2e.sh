#!/usr/bin/env bash
# `make e2e`: installs the release anew (its data is lost), tests it, and takes it away. Fails where it can't run; nothing is skipped.
set -euo pipefail
COMMAND='make e2e'
. "$(dirname "$0")/common.sh"

use_cluster
need_docker
need_kind
need_helm
need k6 'Install it: https://grafana.com/docs/k6/latest/set-up/install-k6'
in_kind || die 'these tests load images of their own, so they need a kind cluster: unset KUBECONFIG, and run `make cluster`.'
export DOCKER INGRESS
# Only the conftest.py of these tests: the others start a PostgreSQL of their own.
exec .venv/bin/python -m pytest tests/e2e --confcutdir tests/e2e -p no:randomly --durations 0 "$@"
