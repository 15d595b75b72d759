#!/usr/bin/env bash
# Proves that `down` leaves nothing behind, also after `up` or `down` was killed at any moment: tests/cluster/crash.sh
#
# It compares the machine before and after: mounts, links, addresses, namespaces, cgroups, packet rules, the settings that
# kubelets change, folders at fixed places, and the cluster's own processes. It needs the built components (make
# cluster-up, then make cluster-down); others may work on the machine, but none may make namespaces or mounts meanwhile.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${OUTRIGGER_CACHE:-$(cd "$here/../.." && pwd)/.cache}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

machine() {
    echo "== mounts" && sort /proc/self/mounts
    echo "== links" && ip -o address && ip -o link | cut -d: -f2
    echo "== namespaces" && { readlink /proc/[0-9]*/ns/{net,mnt,pid,uts,ipc} || true; } 2>/dev/null | sort -u
    echo "== cgroups" && find /sys/fs/cgroup -type d \( -name 'outrigger-test*' -o -name 'kubepods*' \) | sort
    echo "== rules" && nft list ruleset
    echo "== settings" && cat /proc/sys/vm/{overcommit_memory,panic_on_oom} /proc/sys/kernel/{panic,panic_on_oops} /proc/sys/kernel/keys/root_max*
    echo "== folders" && { ls -d /run/netns /run/containerd* /var/lib/cni /var/lib/kubelet /var/log/containers /var/log/pods || true; } 2>/dev/null
    echo "== processes" && { pgrep -f "^$cache/|sleep infinity" || true; }
    echo "== files" && find "$cache/cluster" -mindepth 1 -maxdepth 1 ! -name lock ! -name logs
}

unchanged() { # WHAT
    machine >"$work/after"
    diff "$work/before" "$work/after" >"$work/difference" || { echo "FALSE: $1: left behind:"; cat "$work/difference"; exit 1; }
    echo "nothing is left: $1"
}

# Runs a verb and kills it after a while, as hard as can be.
killed() { # SECONDS VERB
    "$cache/clusterctl/clusterctl" "$2" >"$work/output" 2>&1 &
    local pid=$!
    sleep "$1"
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

verb() { bash "$here/clusterctl.sh" "$1" >"$work/output" 2>&1 || { echo "FALSE: $1 fails:"; cat "$work/output"; exit 1; }; }

verb down
machine >"$work/before"
for moment in 0.02 0.1 0.4 0.8 1.5 3 5 7 9 12; do
    killed "$moment" up
    stage=$(grep -c ' s  ' "$work/output" || true)
    verb down
    unchanged "up killed after $moment s (after $stage stages), then down"
done

killed 2.5 up
verb up
verb status
echo "up goes on after a killed up, and all is well"
killed 0.05 down
verb down
unchanged "down killed after 0.05 s, then down"

killed 6 up
killed 0.03 down
verb up
verb status
echo "up mends what a killed down left, and all is well"

bash "$here/images/build.sh" busybox "$cache/busybox-1/busybox.tar"
"$here/load-image" "$cache/busybox-1/busybox.tar" >/dev/null
"$cache/cluster/bin/kubectl" apply -f "$here/smoke.yaml" >/dev/null
"$cache/cluster/bin/kubectl" -n smoke rollout status statefulset/smoke --timeout=60s >/dev/null
verb down
unchanged "down of a whole cluster with pods and volumes"
