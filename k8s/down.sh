#!/usr/bin/env bash
# `make cluster-down`: deletes the kind cluster that `make cluster` made. From a cluster of KUBECONFIG, which is somebody's, only what
# `make deploy` and `make observability` put there is taken.
set -euo pipefail
COMMAND='make cluster-down'
. "$(dirname "$0")/common.sh"

if [ -z "${KUBECONFIG:-}" ]; then
  need_docker
  need_kind
  kind delete cluster --name "$NAME" --kubeconfig "$OWN_KUBECONFIG"
  rm -f "$OWN_KUBECONFIG"
  exit
fi
use_cluster
need_helm
helm uninstall gantry --namespace "$NAMESPACE" --ignore-not-found --wait --timeout 3m
kubectl delete -k k8s/postgres --ignore-not-found --timeout 180s
kubectl delete -k k8s/observability --ignore-not-found --timeout 180s
kubectl delete secret gantry-security gantry-database --namespace "$NAMESPACE" --ignore-not-found
say "the namespace $NAMESPACE stays: it may hold more than was deployed here"
