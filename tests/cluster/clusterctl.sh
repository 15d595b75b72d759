#!/usr/bin/env bash
# Runs the built clusterctl: tests/cluster/clusterctl.sh up|down|status|load|link|enter
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binary=${OUTRIGGER_CACHE:-$root/.cache}/clusterctl/clusterctl
[[ -x $binary ]] || { echo "tests/cluster: $binary is not built: run make cluster-up" >&2; exit 1; }
exec "$binary" "$@"
