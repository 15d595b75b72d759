#!/usr/bin/env bash
# Real processes under faults, as root. By environment: SEED, STRIKES (faults), MEMBERS (3 to 7).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
if [ "$(id -u)" -ne 0 ]; then
  echo "tests/chaos.sh: run it as root: it makes a network of its own, and namespaces in it for the members" >&2
  exit 1
fi
# With debug assertions, and with places where the log's writes can be made to fail.
$cargo build --locked --quiet -p outrigger-sidecar --features fail-points
$cargo build --locked --quiet -p outrigger-tests --bin chaos
flags=(--outrigger target/debug/outrigger --members "${MEMBERS:-3}" --strikes "${STRIKES:-36}")
if [[ -n ${SEED:-} ]]; then flags+=(--seed "$SEED"); fi
exec unshare --net target/debug/chaos "${flags[@]}"
