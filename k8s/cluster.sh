#!/usr/bin/env bash
# `make cluster`: a cluster with an ingress controller, a metrics API, and a namespace with development secrets. Nothing that is
# there already is made again.
set -euo pipefail
COMMAND='make cluster'
. "$(dirname "$0")/common.sh"

if [ -n "${KUBECONFIG:-}" ]; then
  say "using the cluster of KUBECONFIG ($KUBECONFIG)"
else
  mkdir -p build
  "${CLUSTER_SCRIPT:-k8s/kind.sh}"
  need_kind
  (umask 077 && kind get kubeconfig --name "$NAME" > "$OWN_KUBECONFIG.new") ||
    die "${CLUSTER_SCRIPT:-k8s/kind.sh} has left no kind cluster named $NAME."
  mv "$OWN_KUBECONFIG.new" "$OWN_KUBECONFIG"
  kubectl --kubeconfig "$OWN_KUBECONFIG" config set-context --current --namespace "$NAMESPACE" > /dev/null
fi
use_cluster

if kubectl get ingressclass traefik > /dev/null 2>&1; then
  say 'there is an ingress class traefik'
else
  say 'installing Traefik'
  kubectl apply -k k8s/traefik > /dev/null
  kubectl -n traefik rollout status deployment/traefik --timeout 180s > /dev/null || die 'Traefik does not become ready: see `kubectl -n traefik get events`.'
fi

if kubectl get apiservice v1beta1.metrics.k8s.io > /dev/null 2>&1; then
  say 'there is a metrics API'
else
  say 'installing metrics-server'
  kubectl apply -k k8s/metrics-server > /dev/null
  kubectl wait --for condition=Available apiservice/v1beta1.metrics.k8s.io --timeout 180s > /dev/null ||
    die 'metrics-server does not become ready: see `kubectl -n kube-system get events`.'
fi

k8s/secrets.sh
say 'ready. Next: make deploy'
