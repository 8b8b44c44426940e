#!/usr/bin/env bash
# `make observability`: Prometheus and an OpenTelemetry collector on the cluster of `make cluster` or KUBECONFIG; the release, if there is one, is
# told to send its traces there and to let Prometheus in, and keeps its other values.
set -euo pipefail
COMMAND='make observability'
. "$(dirname "$0")/common.sh"
use_cluster
need_helm

# Prometheus' Role is in it.
kubectl apply -f k8s/namespace.yaml > /dev/null
say 'deploying Prometheus and the collector'
kubectl apply -k k8s/observability > /dev/null
for deployment in prometheus otel-collector; do
  kubectl -n "$OBSERVABILITY_NAMESPACE" rollout status "deployment/$deployment" --timeout 180s > /dev/null ||
    die "$deployment does not become ready: see \`kubectl -n $OBSERVABILITY_NAMESPACE get events\`."
done

if helm status gantry --namespace "$NAMESPACE" > /dev/null 2>&1; then
  say 'connecting the release gantry'
  helm upgrade gantry charts/gantry --namespace "$NAMESPACE" --reset-then-reuse-values --values k8s/values-observability.yaml \
    --wait --timeout 5m > /dev/null || die "the release does not become ready: see \`kubectl -n $NAMESPACE get pods,events\`."
else
  say 'there is no release yet: `make deploy` connects it'
fi

echo
echo "kubectl --kubeconfig $KUBECONFIG -n $OBSERVABILITY_NAMESPACE port-forward service/prometheus 9090    # then http://127.0.0.1:9090"
echo "kubectl --kubeconfig $KUBECONFIG -n $OBSERVABILITY_NAMESPACE logs deployment/otel-collector --follow  # a line for each span"
