#!/usr/bin/env bash
# `make deploy`: image, PostgreSQL and chart on the cluster of `make cluster` or KUBECONFIG. Into kind the image is loaded; for
# another cluster IMAGE names one in a registry that the cluster pulls from (repository:tag).
set -euo pipefail
COMMAND='make deploy'
. "$(dirname "$0")/common.sh"
use_cluster
need_helm

build() {
  need_docker
  say 'building the image'
  version=$(git describe --always --dirty 2> /dev/null || echo unknown)
  # No attestations: they would give the same image another id each time.
  # shellcheck disable=SC2086
  DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 "$DOCKER" build --quiet ${DOCKER_BUILD_FLAGS:-} \
    --build-arg "VERSION=${version%-dirty}" --tag gantry:latest . > /dev/null || die 'the image does not build (see above).'
  id=$("$DOCKER" image inspect --format '{{.Id}}' gantry:latest)
  # The tag is what is in it, so that pods are replaced exactly when something has changed.
  id=${id#sha256:}
  IMAGE=gantry:${id:0:12}
  "$DOCKER" tag gantry:latest "$IMAGE"
}

load() {
  need_kind
  local context
  context=$(kubectl config current-context)
  if ! "$DOCKER" exec "${context#kind-}-control-plane" crictl images 2> /dev/null | grep "gantry *${IMAGE#*:} " > /dev/null; then
    say "loading $IMAGE into ${context}"
    kind load docker-image "$IMAGE" --name "${context#kind-}" > /dev/null 2>&1 || die "$IMAGE can't be loaded into the cluster $context."
  fi
}

if [ -z "${IMAGE:-}" ]; then
  in_kind || die 'this is no kind cluster: push an image, and set IMAGE=repository:tag.'
  build
  load
fi

k8s/secrets.sh
say 'deploying PostgreSQL'
kubectl apply -k k8s/postgres > /dev/null
kubectl -n gantry-postgres rollout status statefulset/postgres --timeout 180s > /dev/null ||
  die 'PostgreSQL does not become ready: see `kubectl -n gantry-postgres get events`.'

values=(--values k8s/values-small.yaml)
# What `make observability` has connected stays connected.
if kubectl get namespace "$OBSERVABILITY_NAMESPACE" > /dev/null 2>&1; then
  values+=(--values k8s/values-observability.yaml)
fi
say "deploying the chart with $IMAGE"
# shellcheck disable=SC2086
helm upgrade --install gantry charts/gantry --namespace "$NAMESPACE" "${values[@]}" \
  --set-string "image.repository=${IMAGE%:*},image.tag=${IMAGE##*:}" ${HELM_FLAGS:-} --wait --timeout 5m > /dev/null ||
  die "the release does not become ready: see \`kubectl -n $NAMESPACE get pods,events\`."

k8s/key.sh
