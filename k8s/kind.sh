#!/usr/bin/env bash
# Makes the kind cluster, unless it is there. `make cluster CLUSTER_SCRIPT=...` runs another script in its place, which has to
# leave a kind cluster of the same name.
set -euo pipefail
COMMAND='make cluster'
. "$(dirname "$0")/common.sh"

need_docker ', or set KUBECONFIG to a cluster that is there.'
need_kind
if kind get clusters 2> /dev/null | grep -x "$NAME" > /dev/null; then
  say "the kind cluster $NAME is there"
else
  kind create cluster --name "$NAME" --config k8s/kind.yaml --kubeconfig "$OWN_KUBECONFIG" --wait 180s
fi
