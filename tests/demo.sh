#!/usr/bin/env bash
# The demo: examples/orders.yaml as three real processes on this machine. Writes and reads through different members,
# kills the leader, wipes one member's volume, and says where everything is. CI=1 ends by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=target/release
loopback="${OUTRIGGER_LOOPBACK:-127.0.1.0/24}"
base="${loopback%.0/24}"
dir="${OUTRIGGER_DEMO_DIR:-$PWD/.outrigger/demo}"
log="$dir/runner.log"
ip() { echo "$base.$(($1 + 1))"; }
o() { "$bin/outrigger" --endpoint "$(ip "$1"):2379" --admin-endpoint "$(ip "$1"):2380" "${@:2}"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
now_ms() { date +%s%3N; }
die() {
  echo "demo failed: $*" >&2
  echo "the runner's log: $log; the members' logs: $dir/logs; last lines:" >&2
  tail -n 20 "$log" >&2 || true
  exit 1
}
local_runner() { "$bin/outrigger-operator" local "$@" --data-dir "$dir"; }
field() { local_runner status orders -o json | python3 -c "import json,sys; d=json.load(sys.stdin); print($1)" 2>/dev/null; }
until_true() { # what, seconds, command...
  local what=$1 deadline=$(($(now_ms) + $2 * 1000))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(now_ms)" -lt "$deadline" ] || die "not within the time: $what"
    kill -0 "$runner" 2>/dev/null || die "the runner ended"
    sleep 0.05
  done
}

if "$bin/outrigger" --endpoint "$(ip 0):2379" get demo/hello >/dev/null 2>&1; then
  echo "demo: a cluster runs on $loopback already: stop it (outrigger-operator local stop orders), or set OUTRIGGER_LOOPBACK=127.0.2.0/24" >&2
  exit 1
fi
rm -rf "$dir"
mkdir -p "$dir"
say "1. A cluster from examples/orders.yaml: three processes, their volumes under $dir"
"$bin/outrigger-operator" local -f examples/orders.yaml --loopback "$loopback" --data-dir "$dir" --plain >"$log" 2>&1 &
runner=$!
trap 'kill -TERM $runner 2>/dev/null || true; wait $runner 2>/dev/null || true' EXIT
begin=$(now_ms)
until_true "the first write" 60 o 0 put demo/hello "from member 0"
echo "formed and writable after $(($(now_ms) - begin)) ms"
healthy() { [ "$(field 'd["status"]["phase"]')" = Healthy ]; }
until_true "a healthy cluster" 60 healthy
local_runner status orders

say "2. Written through one member, read through another"
o 1 put demo/colour teal
echo "through member 2: $(o 2 get demo/colour)"

leader_name=$(field 'd["status"]["leader"]["name"]')
leader=${leader_name##*-}
survivor=$(((leader + 1) % 3))
say "3. kill -9 of the leader, $leader_name"
begin=$(now_ms)
kill -9 "$(field "[m['process'] for m in d['members'] if m['name']=='$leader_name'][0]")"
until_true "a write after the kill" 30 o "$survivor" put demo/after-kill "$(now_ms)"
echo "no write was accepted for $(($(now_ms) - begin)) ms (measured with one process a try)"
echo "the write that succeeds: $(o "$survivor" get demo/after-kill)"
until_true "a leader in the status" 30 field 'd["status"]["leader"]["name"]'
echo "leader before: $leader_name, now: $(field 'd["status"]["leader"]["name"]')"

say "4. One member loses its volume and comes back under a new id"
member_id() { field "[m['id'] for m in d['status']['members'] if m['name']=='orders-$1'][0]"; }
until_true "the wiped member in reach" 60 o 2 put demo/before-wipe yes
before=$(member_id 2)
# Refused until the member that was killed is in step again: a quorum is never wiped.
until_true "three members in step, one of them to spare" 60 local_runner wipe orders 2
echo "wiped: the volume of orders-2, whose member was $before"
replaced() { local id; id=$(member_id 2) && [ -n "$id" ] && [ "$id" != "$before" ] && [ "$(field 'd["status"]["voters"]')" = 3 ]; }
until_true "the replacement" 90 replaced
until_true "a healthy cluster" 60 healthy
until_true "reads through the new member" 30 o 2 get demo/hello
echo "orders-2 was $before, is $(member_id 2); through it: $(o 2 get demo/hello)"
local_runner status orders

say "Where everything is"
echo "  etcd API      $(ip 0):2379 $(ip 1):2379 $(ip 2):2379   (any etcd client)"
echo "  peers, admin  $(ip 0):2380 …    HTTP $(ip 0):2381 (/readyz /metrics /cluster)"
echo "  volumes       $dir/volumes    logs $dir/logs"
if [ -n "${CI:-}" ]; then
  say "The demo is over"
  exit 0
fi
echo "Ctrl-C ends it."
wait "$runner"
