#!/usr/bin/env bash
# Builds both images from the static binaries of tests/release.sh: with buildah where it is there, else with docker. Writes them to target/images as
# OCI archives with buildah; docker keeps them in its own store.
set -euo pipefail
cd "$(dirname "$0")/.."
tag=${TAG:-0.1.0}
out=target/images
bash tests/release.sh
image() {
  local name=$1 binary=$2 file=$3
  rm -rf "$out/context" && mkdir -p "$out/context"
  objcopy --strip-all "target/release/$binary" "$out/context/$binary"
  if command -v buildah >/dev/null; then
    buildah --storage-driver vfs bud --isolation chroot --quiet -t "$name:$tag" -f "$file" "$out/context" >/dev/null
    rm -f "$out/$name.tar"
    buildah --storage-driver vfs push --quiet "$name:$tag" "oci-archive:$out/$name.tar:docker.io/library/$name:$tag" >/dev/null
  else
    docker build --quiet -t "$name:$tag" -f "$file" "$out/context" >/dev/null
  fi
  printf '%-20s %5.1f MB binary\n' "$name:$tag" "$(echo "$(stat -c %s "$out/context/$binary") / 1000000" | bc -l)"
}
image outrigger outrigger sidecar/Dockerfile
image outrigger-operator outrigger-operator operator/Dockerfile
