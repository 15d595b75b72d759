#!/usr/bin/env bash
# Real processes under faults, as root: see `usage`. What is wrong with what was given is said before anything is built.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() {
  cat <<'TEXT'
usage: tests/chaos.sh, as root, with these in the environment:
  SEED=n (of all choices; drawn if not given), STRIKES=n (faults, 36; from 12 on each kind comes), MEMBERS=n (3 to 7; 3)
TEXT
}
me=tests/chaos.sh
source tests/checks.sh
case ${1:-} in
-h | --help) usage && exit 0 ;;
'') ;;
*) refuse "$1: no argument is allowed, variables come from the environment" ;;
esac
whole SEED 0 18446744073709551615
whole STRIKES 1 10000
whole MEMBERS 3 7
if [ "$(id -u)" -ne 0 ]; then
  echo "tests/chaos.sh: run it as root: it makes a network of its own, and namespaces in it for the members" >&2
  exit 1
fi
echo "building the members and their clients…" >&2
cargo=${CARGO:-cargo}
# With debug assertions, and with places where the log's writes can be made to fail.
$cargo build --locked --quiet -p outrigger-sidecar --features fail-points
$cargo build --locked --quiet -p outrigger-tests --bin chaos
flags=(--outrigger target/debug/outrigger --members "${MEMBERS:-3}" --strikes "${STRIKES:-36}")
if [[ -n ${SEED:-} ]]; then flags+=(--seed "$SEED"); fi
exec unshare --net target/debug/chaos "${flags[@]}"
