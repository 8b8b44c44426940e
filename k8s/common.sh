# Shared by the scripts beside it: what they say, what they need, and which cluster they talk to.
# shellcheck shell=bash

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

NAME=${CLUSTER_NAME:-gantry}
NAMESPACE=gantry
OBSERVABILITY_NAMESPACE=gantry-observability
OWN_KUBECONFIG=$PWD/build/kubeconfig
DOCKER=${DOCKER:-docker}
INGRESS=${INGRESS:-http://127.0.0.1:8080}

say() { printf '  %s\n' "$*"; }
die() { printf '%s: %s\n' "${COMMAND:-gantry}" "$*" >&2; exit 1; }

# need PROGRAM WHERE: ends with a sentence when a program is missing.
need() { command -v "$1" > /dev/null || die "$1 is missing. $2"; }

need_kubectl() { need kubectl 'Install it: https://kubernetes.io/docs/tasks/tools'; }
need_helm() { need helm 'Install it: https://helm.sh/docs/intro/install'; }
need_kind() { need kind 'Install it: https://kind.sigs.k8s.io/docs/user/quick-start, or set KUBECONFIG to a cluster that is there.'; }
need_docker() {
  need "$DOCKER" "Install Docker: https://docs.docker.com/engine/install${1:-}"
  timeout 20 "$DOCKER" version > /dev/null 2>&1 ||
    die "Docker is installed, but its daemon does not answer: start it, and see that \`$DOCKER version\` works for this user."
}

answers() { KUBECONFIG=$1 kubectl get --raw /readyz --request-timeout 10s > /dev/null 2>&1; }

# The cluster of KUBECONFIG, or the one that `make cluster` made. Never the one of ~/.kube/config: nobody is to deploy there by chance.
use_cluster() {
  need_kubectl
  if [ -n "${KUBECONFIG:-}" ]; then
    answers "$KUBECONFIG" || die "the cluster of KUBECONFIG ($KUBECONFIG) does not answer: unset it for a kind cluster, or set it to one that runs."
  elif [ -s "$OWN_KUBECONFIG" ] && answers "$OWN_KUBECONFIG"; then
    export KUBECONFIG=$OWN_KUBECONFIG
  else
    die 'there is no cluster: run `make cluster` first, or set KUBECONFIG.'
  fi
}

in_kind() { [[ $(kubectl config current-context) == kind-* ]]; }
