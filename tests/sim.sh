#!/usr/bin/env bash
# The simulator of whole clusters: see `usage`. What is wrong with what was given is said before anything is built.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() {
  cat <<'TEXT'
usage: tests/sim.sh run | replay | shrink | mutants, with these in the environment:
  run      many seeds: FIRST=n (drawn if not given, so that each run meets others), BUDGET=seconds (120), SEEDS=n (at most),
           AT_LEAST=n (fail if fewer were run), ALL_MET=1 (fail if something was never met)
  replay   one run: SEED=n, with MUTANT=name under a planted bug, or SCHEDULE=file.json; LOG=1: all that happens
  shrink   makes a failing one small, into target/sim/schedule.json: SEED=n, with MUTANT=name, or SCHEDULE=file.json
  mutants  plants one bug after the other: ONLY=name,name for some
  but for a SCHEDULE, all take SECONDS_EACH=n, the simulated length of a seed (860; for mutants 300)
TEXT
}
me=tests/sim.sh
source tests/checks.sh
yes_or_no() { [[ -z ${!1+set} || ${!1} == [01] ]] || refuse "$1=${!1}: 1 or 0 is allowed"; }
named() { [[ -z ${!1+set} || ${!1} =~ ^[a-z0-9,-]+$ ]] || refuse "$1=${!1}: $2 (docs/reliability.md lists them)"; }
# Variables that would change nothing here.
only_for() {
  local name
  for name in "${@:2}"; do
    if [[ -n ${!name+set} ]]; then refuse "$name=${!name}: it is for $1, not for $what"; fi
  done
}
case ${1:-} in
-h | --help) usage && exit 0 ;;
'') usage >&2 && exit 2 ;;
run | replay | shrink | mutants) what=$1 ;;
*) refuse "$1: run, replay, shrink or mutants is allowed" ;;
esac
(($# == 1)) || refuse "${*:2}: nothing more is allowed, variables come from the environment"
most=18446744073709551615
whole SEED 0 $most
whole FIRST 0 18446744073709551614
whole SEEDS 1 $most
whole BUDGET 1 $most
whole AT_LEAST 0 $most
whole SECONDS_EACH 1 100000
yes_or_no ALL_MET
named MUTANT "a planted bug's name is due"
named ONLY "planted bugs' names with commas between are due"
features=()
each=(--seconds "${SECONDS_EACH:-860}")
one=()
case $what in
run) only_for "replay and shrink" SEED SCHEDULE MUTANT ;;
mutants)
  only_for "replay and shrink" SEED SCHEDULE MUTANT
  only_for run FIRST SEEDS BUDGET AT_LEAST ALL_MET
  features=(--features mutants)
  ;;
*)
  if [[ -n ${SCHEDULE+set} ]]; then
    if [[ -n ${SEED+set} ]]; then refuse "SEED=$SEED and SCHEDULE=$SCHEDULE: one of them is allowed"; fi
    for name in MUTANT SECONDS_EACH; do
      if [[ -n ${!name+set} ]]; then refuse "$name=${!name} and SCHEDULE=$SCHEDULE: the file says that itself"; fi
    done
    [[ -e $SCHEDULE ]] || refuse "SCHEDULE=$SCHEDULE: there is no such file"
    [[ -f $SCHEDULE && -r $SCHEDULE ]] || refuse "SCHEDULE=$SCHEDULE: a regular file that can be read is due"
    one=(--schedule "$SCHEDULE")
    # All of it is read: a reader that stops early would be taken for a failure.
    planted=$(tr '\n' ' ' <"$SCHEDULE" | grep -acE '"mutant"[[:space:]]*:[[:space:]]*"' || true)
    if [[ $planted != 0 ]]; then features=(--features mutants); fi
  else
    [[ -n ${SEED+set} ]] || refuse "SEED=n or SCHEDULE=file.json is due"
    one=("${each[@]}" --seed "$SEED")
    if [[ -n ${MUTANT:-} ]]; then one+=(--mutant "$MUTANT") features=(--features mutants); fi
  fi
  only_for run FIRST SEEDS BUDGET AT_LEAST ALL_MET
  if [[ $what == replay ]]; then yes_or_no LOG; fi
  if [[ $what == replay && ${LOG:-} == 1 ]]; then one+=(--log); fi
  ;;
esac
if [[ $what != mutants ]]; then only_for mutants ONLY; fi
echo "building the simulator${features[*]:+ with planted bugs}…" >&2
${CARGO:-cargo} build --locked --quiet --profile sim -p outrigger-sim "${features[@]}"
sim=target/sim/sim
case $what in
run)
  first=${FIRST:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
  met=()
  if [[ ${ALL_MET:-} == 1 ]]; then met=(--all-met); fi
  echo "sim: from seed $first on (again: FIRST=$first)"
  exec "$sim" run --budget-seconds "${BUDGET:-120}" --first "$first" --seeds "${SEEDS:-1000000000}" --at-least "${AT_LEAST:-1}" "${each[@]}" "${met[@]}"
  ;;
mutants) exec "$sim" mutants --seconds "${SECONDS_EACH:-300}" ${ONLY:+--only "$ONLY"} ;;
*) exec "$sim" "$what" "${one[@]}" ;;
esac
