#!/usr/bin/env bash
# Checks the Helm chart without a cluster: lint, the objects against golden files, and that bad values are refused by name.
#
# UPDATE=1 writes the golden files anew: look at their difference before you commit it. With --if-built it does nothing while Helm
# is not in the cache, so that formatting and lints need no build of Helm.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${OUTRIGGER_CACHE:-$PWD/.cache}
chart=charts/outrigger
here=tests/chart

version=$(awk '$2 == "helm.sh/helm/v4" { print substr($3, 2) } $1 == "helm.sh/helm/v4" { print substr($2, 2) }' tests/cluster/modules/helm/go.mod | head -1)
if [[ ${1:-} == --if-built && ! -x $cache/helm-$version/helm ]]; then
  echo "chart: not checked, for Helm $version is not built; \`make chart\` builds it"
  exit 0
fi
[[ -x $cache/helm-$version/helm ]] || bash tests/cluster/build.sh helm
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Neither the user's repositories and plugins nor their kubeconfig have a say in it.
helm() { env HOME="$work" KUBECONFIG=/dev/null HELM_NAMESPACE=outrigger-system "$cache/helm-$version/helm" "$@"; }
failed=0
fail() {
  echo "chart: $*" >&2
  failed=1
}

# --- the chart is well-formed, and of the version of what it installs
helm lint --strict --quiet "$chart" || fail "helm lint"
wanted=$(awk -F'"' '/^version = /{ print $2; exit }' Cargo.toml)
grep -qx "appVersion: $wanted" "$chart/Chart.yaml" || fail "appVersion is not the workspace's version, $wanted"

# --- the objects of each set of values
for values in "$here"/values/*.yaml; do
  name=$(basename "$values" .yaml)
  golden=$here/golden/$name.yaml
  # The definition is checked below; 500 generated lines in each golden file would hide the rest.
  if ! helm template outrigger "$chart" --values "$values" --set crds.install=false >"$work/$name.yaml" 2>"$work/err"; then
    fail "$name: $(cat "$work/err")"
    continue
  fi
  if [[ ${UPDATE:-} == 1 ]]; then
    cp "$work/$name.yaml" "$golden"
  elif ! diff -u "$golden" "$work/$name.yaml"; then
    fail "$name differs from $golden; if that is meant: UPDATE=1 make chart"
  fi
  if grep -nE "'\*'|\"\*\"|\[\*\]|- \*$|cluster-admin|\b(escalate|bind|impersonate)\b" "$work/$name.yaml"; then
    fail "$name gives a right that no operator needs"
  fi
done
for golden in "$here"/golden/*.yaml; do
  [[ -e $here/values/$(basename "$golden") ]] || fail "$golden has no values"
done

# --- the definition: the generated one, kept when the chart is uninstalled
cmp -s crds/raftclusters.outrigger.dev.yaml "$chart/files/raftclusters.outrigger.dev.yaml" || fail "the chart's copy of the definition is old: make generate"
helm template outrigger "$chart" --show-only templates/crd.yaml >"$work/crd.yaml"
grep -q '^    helm.sh/resource-policy: keep$' "$work/crd.yaml" || fail "the definition would go with the chart, and every RaftCluster with it"
# As a bag of words: Helm sorts the keys, and writes 9.0 as 9.
words() { sed -E 's/([0-9])[.]0$/\1/' | tr -cs 'A-Za-z0-9' '\n' | sort | uniq -c | sort -rn; }
if ! diff <(sed -n '/^spec:/,$p' crds/raftclusters.outrigger.dev.yaml | words) <(sed -n '/^spec:/,$p' "$work/crd.yaml" | words) >/dev/null; then
  fail "the chart renders another definition than crds/ holds"
fi

# --- the notes name what was installed
helm install outrigger "$chart" --dry-run=client --set 'watchNamespaces={shop}' >"$work/notes" 2>"$work/err" || fail "notes: $(cat "$work/err")"
for said in "deployment/outrigger" "kubectl apply -n shop" "wait --for=condition=Ready raftcluster/orders" "docs/operations.md"; do
  grep -qF -- "$said" "$work/notes" || fail "the notes do not say '$said'"
done

# --- what is refused, and the word by which the error names it
refused=0
while IFS='|' read -r set word; do
  set=$(sed 's/ *$//' <<<"$set") word=${word# }
  [[ -n $set ]] || continue
  if helm template outrigger "$chart" --set-json "$set" >/dev/null 2>"$work/err"; then
    fail "accepted: $set"
  elif ! grep -qF -- "$word" "$work/err"; then
    fail "the refusal of $set does not name $word: $(cat "$work/err")"
  fi
  refused=$((refused + 1))
done <"$here/refused.txt"
((refused > 15)) || fail "only $refused rows of $here/refused.txt were read"

((failed)) && exit 1
echo "chart: $(find "$here/values" -name '*.yaml' | wc -l) sets of values as in their golden files, $refused bad values refused"
