#!/usr/bin/env bash
# The simulator: tests/sim.sh run | replay | shrink | mutants. By environment: SEED, SCHEDULE, SECONDS_EACH (simulated), BUDGET (seconds),
# FIRST (seed; drawn if not given, so that each run meets others), SEEDS (at most), AT_LEAST (seeds), LOG=1, MUTANT (a planted bug, for replay and
# shrink).
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
what=$1
features=()
# A schedule file may name a planted bug.
if [[ -n ${SCHEDULE:-} && -z ${MUTANT:-} ]]; then MUTANT=$(sed -n 's/.*"mutant": "\(.*\)".*/\1/p' "$SCHEDULE"); fi
if [[ $what == mutants || -n ${MUTANT:-} ]]; then features=(--features mutants); fi
$cargo build --locked --quiet --profile sim -p outrigger-sim "${features[@]}"
sim=target/sim/sim
each=(--seconds "${SECONDS_EACH:-860}")
one=("${each[@]}")
if [[ -n ${SCHEDULE:-} ]]; then one+=(--schedule "$SCHEDULE"); else one+=(--seed "${SEED:-1}"); fi
if [[ -n ${MUTANT:-} ]]; then one+=(--mutant "$MUTANT"); fi
if [[ ${LOG:-} == 1 ]]; then one+=(--log); fi
case $what in
run)
  # Whether everything was met is asked of seeds that stay the same: of others it would be chance.
  met=()
  if [[ -n ${FIRST:-} ]]; then met=(--all-met); fi
  first=${FIRST:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  echo "sim: from seed $first on (again: FIRST=$first)"
  exec "$sim" run --budget-seconds "${BUDGET:-120}" --first "$first" --seeds "${SEEDS:-1000000000}" --at-least "${AT_LEAST:-1}" "${each[@]}" "${met[@]}"
  ;;
replay) exec "$sim" replay "${one[@]}" ;;
shrink) exec "$sim" shrink "${one[@]}" ;;
mutants) exec "$sim" mutants --seconds "${SECONDS_EACH:-300}" ;;
*) echo "tests/sim.sh: run, replay, shrink or mutants, not $what" >&2 && exit 2 ;;
esac
