#!/usr/bin/env bash
# Prints the two lines that the README's tour begins with, for the cluster.
set -euo pipefail
COMMAND='make deploy'
. "$(dirname "$0")/common.sh"
use_cluster

key=$(kubectl -n "$NAMESPACE" get secret gantry-security -o jsonpath='{.data.bootstrap-key}' | base64 -d)
echo
echo "API=$INGRESS/api/v1"
echo "KEY=\"X-API-Key: $key\""
