#!/usr/bin/env bash
# Proves that the test cluster does what the tests stand on. It needs a cluster that is up: make cluster-up.
#
# Each line is a claim; the first that is false ends the script with what was seen instead.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${OUTRIGGER_CACHE:-$(cd "$here/../.." && pwd)/.cache}
PATH=$cache/cluster/bin:$PATH
began=$(date +%s%N)

claim() { printf '%6.1f s  %s\n' "$((($(date +%s%N) - began) / 100000000))e-1" "$*"; }
fail() { echo "FALSE: $*" >&2; exit 1; }

# Waits until a command succeeds: eventually LIMIT WHAT COMMAND...
eventually() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "$what: not within the limit; '$*' says: $("$@" 2>&1 || true)"
        sleep 0.2
    done
}

in_pod() { kubectl --namespace smoke exec "$1" -c app -- "${@:2}"; }
node_is() { [[ $(kubectl get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') == "$2" ]]; }
claim_has() { [[ $(kubectl -n smoke get pvc "$1" -o jsonpath='{.status.capacity.storage}') == "$2" ]]; }
no_namespace() { ! kubectl get namespace smoke; }
no_volumes() { [[ -z $(find "$cache"/cluster/node-*/volumes -mindepth 1 -maxdepth 1) ]]; }

finish() {
    "$here/link" heal node-3 || true
    kubectl delete namespace smoke --ignore-not-found --wait=false >/dev/null || true
}
trap finish EXIT

kubectl delete namespace smoke --ignore-not-found >/dev/null
for n in 1 2 3; do node_is "node-$n" True || fail "node-$n is not Ready"; done
claim "three nodes are Ready"

bash "$here/images/build.sh" busybox "$cache/busybox-1/busybox.tar"
"$here/load-image" "$cache/busybox-1/busybox.tar" >/dev/null
claim "an image is loaded into all nodes"

kubectl apply -f "$here/smoke.yaml" >/dev/null
kubectl -n smoke rollout status statefulset/smoke --timeout=60s >/dev/null || fail "the pods do not run: $(kubectl -n smoke describe pods | tail -20)"
[[ $(kubectl -n smoke get pods -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}' | sort -u | wc -l) == 3 ]] || fail "the pods are not spread over three nodes"
[[ $(kubectl -n smoke get pods -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}') == "0 0 0" ]] || fail "an app started before its sidecar"
claim "a StatefulSet runs on three nodes: native sidecars first, volumes of the default class, restricted security"

for n in 0 1 2; do
    eventually 15 "headless names" in_pod "smoke-$n" timeout 2 wget -q -O - "http://smoke-$(((n + 1) % 3)).peers.smoke.svc.cluster.local:8080/"
done
claim "pods on different nodes reach each other by their headless names"

answers=$(in_pod smoke-0 sh -c 'for i in $(seq 30); do timeout 2 wget -q -O - http://client/; done' | sort -u | xargs)
[[ $answers == "smoke-0 smoke-1 smoke-2" ]] || fail "the ClusterIP answers from '$answers'"
claim "a Service's name leads to its ClusterIP, and that to all pods"

address=$(kubectl -n smoke get service client -o jsonpath='{.spec.clusterIP}')
"$cache/cluster/bin/enter" busybox timeout 2 busybox wget -q -O /dev/null "http://$address/" || fail "a process of the machine cannot reach $address"
"$cache/cluster/bin/enter" busybox timeout 2 busybox wget -q -O /dev/null "http://$(kubectl -n smoke get pod smoke-1 -o jsonpath='{.status.podIP}'):8080/" || fail "a process of the machine cannot reach a pod"
claim "a process of the machine reaches the ClusterIP and a pod, by enter"

kubectl -n smoke logs smoke-1 -c sidecar | grep -q "sidecar serves" || fail "the sidecar's log lacks its line"
claim "kubectl exec and logs work"

kubectl -n smoke patch pvc data-smoke-0 --type merge -p '{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}' >/dev/null
eventually 15 "the claim's new size" claim_has data-smoke-0 96Mi
claim "a claim grows from 64Mi to 96Mi"

in_sidecar() { kubectl --namespace smoke exec "$1" -c sidecar -- "${@:2}"; }
in_sidecar smoke-2 sh -c 'echo kept >/data/kept'
node=$(kubectl -n smoke get pod smoke-2 -o jsonpath='{.spec.nodeName}')
kubectl -n smoke delete pod smoke-2 >/dev/null
eventually 30 "the pod's return" kubectl -n smoke wait --for=condition=Ready pod/smoke-2 --timeout=1s
[[ $(in_sidecar smoke-2 cat /data/kept) == kept ]] || fail "the pod came back to another volume"
[[ $(kubectl -n smoke get pod smoke-2 -o jsonpath='{.spec.nodeName}') == "$node" ]] || fail "the pod left its volume's node"
claim "a deleted pod comes back to its volume and its node"

"$here/link" cut node-3
eventually 40 "NotReady" node_is node-3 Unknown
claim "node-3's link is cut: it is NotReady"
"$here/link" heal node-3
eventually 40 "Ready" node_is node-3 True
claim "the link is back: node-3 is Ready"

kubectl delete namespace smoke --wait=false >/dev/null
eventually 60 "the namespace's end" no_namespace
eventually 20 "the volumes' removal" no_volumes
claim "the namespace is deleted, and the volumes' folders with it"
