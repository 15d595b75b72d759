#!/usr/bin/env bash
# The scenarios of tests/e2e on a real Kubernetes: tests/e2e.sh [SCENARIO...]; --list names them.
#
# Without KUBECONFIG it brings up the cluster of tests/cluster and takes it down at the end; KEEP=1 leaves it up. With KUBECONFIG that
# cluster is used: load target/images/*.tar and the image localhost/outrigger-test/etcdctl:1 into its nodes first (docs/testing.md), and the
# scenarios that need the test cluster's own log, links and disks are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${OUTRIGGER_CACHE:-$PWD/.cache}
began=$SECONDS
step() { printf '%4d s  %s\n' $((SECONDS - began)) "$*"; }

step "building the scenarios"
# The operator of this build can be ended at places that a scenario names; the one in the image cannot.
cargo build --locked --quiet -p outrigger-e2e -p outrigger-operator --features outrigger-operator/fail-points --bins
[[ " $* " == *" --list "* ]] && exec target/debug/outrigger-e2e --list
step "building the images"
bash tests/images.sh

arguments=()
run=()
if [[ -z ${KUBECONFIG:-} ]]; then
  bash tests/deps.sh cluster
  bash tests/etcd/build.sh >/dev/null
  bash tests/cluster/build.sh
  finish() { [[ ${KEEP:-} == 1 ]] || bash tests/cluster/clusterctl.sh down; }
  trap finish EXIT
  step "bringing the cluster up"
  bash tests/cluster/clusterctl.sh up
  PATH=$cache/cluster/bin:$PATH
  step "loading the images"
  bash tests/e2e/image.sh "$cache/etcd-3.7.3/etcdctl" "$cache/etcdctl-image/etcdctl.tar"
  # The same sidecar under another name, for a roll.
  rm -f target/images/outrigger-roll.tar
  buildah --storage-driver vfs push --quiet outrigger:0.1.0 "oci-archive:$PWD/target/images/outrigger-roll.tar:docker.io/library/outrigger:roll" >/dev/null
  tests/cluster/load-image target/images/*.tar "$cache/etcdctl-image/etcdctl.tar" >/dev/null
  arguments=(--audit-log "$cache/cluster/logs/audit.log" --operator "$PWD/target/debug/outrigger-operator")
  run=("$cache/cluster/bin/enter")
fi

step "installing the chart"
kubectl create namespace outrigger-system --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl label --overwrite namespace outrigger-system pod-security.kubernetes.io/enforce=restricted >/dev/null
helm upgrade --install outrigger charts/outrigger --namespace outrigger-system --wait --timeout 120s \
  --set image.repository=docker.io/library/outrigger-operator --set image.pullPolicy=IfNotPresent \
  --set sidecar.image.repository=docker.io/library/outrigger >/dev/null
step "running the scenarios"
"${run[@]}" "$PWD/target/debug/outrigger-e2e" "${arguments[@]}" "$@"
step "done"
