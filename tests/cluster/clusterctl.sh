#!/usr/bin/env bash
# Runs clusterctl, and builds it when it is not there: tests/cluster/clusterctl.sh up|down|status|load|link|enter
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
binary=${OUTRIGGER_CACHE:-$root/.cache}/clusterctl/clusterctl
[[ -x $binary ]] || bash "$root/tests/cluster/build.sh" clusterctl >&2
exec "$binary" "$@"
