#!/usr/bin/env bash
# The namespace, and in it the Secrets that values-small.yaml names, random and made once: another run leaves them, and so all keys, as they are.
set -euo pipefail
COMMAND='making development secrets'
. "$(dirname "$0")/common.sh"
use_cluster
context=$(kubectl config current-context)
[ "${SKAFFOLD_KUBE_CONTEXT:-$context}" = "$context" ] ||
  die "skaffold deploys to $SKAFFOLD_KUBE_CONTEXT, this would write to $context: export KUBECONFIG=\$PWD/build/kubeconfig first."

kubectl apply -f k8s/namespace.yaml > /dev/null
exists() { kubectl -n "$NAMESPACE" get secret "$1" > /dev/null 2>&1; }
random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# Values go in by files that nobody else can read: everybody on a machine can see arguments.
files=$(mktemp -d)
trap 'rm -r "$files"' EXIT

if ! exists gantry-security; then
  peppers="[\"$(random)\"]"
  cursors="[\"$(random)\"]"
  printf %s "$peppers" > "$files/key-peppers"
  printf %s "$cursors" > "$files/cursor-keys"
  key=$(GANTRY_SECURITY__KEY_PEPPERS=$peppers GANTRY_SECURITY__CURSOR_KEYS=$cursors GANTRY_DATABASE__URL=postgresql://unused \
    .venv/bin/python -m app.cli keys create --offline --name development)
  printf %s "$key" > "$files/bootstrap-key"
  kubectl -n "$NAMESPACE" create secret generic gantry-security --from-file "$files" > /dev/null
  say 'made the Secret gantry-security'
  rm "$files"/*
fi

# The role of k8s/postgres, which has no other password than this development one.
if ! exists gantry-database; then
  kubectl kustomize k8s/postgres |
    .venv/bin/python -c '
import pathlib, sys, yaml
(secret,) = (one for one in yaml.safe_load_all(sys.stdin) if one["kind"] == "Secret")
for name, key in (("username", "GANTRY_USER"), ("password", "GANTRY_PASSWORD")):
    pathlib.Path(sys.argv[1], name).write_text(secret["stringData"][key])
' "$files"
  kubectl -n "$NAMESPACE" create secret generic gantry-database --from-file "$files" > /dev/null
  say 'made the Secret gantry-database'
fi
