#!/usr/bin/env bash
# An image with etcd's own etcdctl and busybox: tests/e2e/image.sh ETCDCTL FILE.tar. Built once.
set -euo pipefail
[[ $# -eq 2 ]] || { echo "usage: image.sh ETCDCTL FILE.tar" >&2; exit 1; }
image=localhost/outrigger-test/etcdctl:1
[[ -f $2 && $2 -nt $1 ]] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/context"
cp "$1" "$work/context/etcdctl"
cp "$(command -v busybox)" "$work/context/busybox"
printf 'FROM scratch\nCOPY etcdctl busybox /\nUSER 65532:65532\n' >"$work/context/Dockerfile"
# A store of its own, gone with this run; vfs and chroot, because overlays and namespaces may be refused in a container.
buildah=(buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs)
"${buildah[@]}" bud --isolation chroot --quiet --tag "$image" "$work/context" >/dev/null
mkdir -p "$(dirname "$2")"
rm -f "$2.partial"
"${buildah[@]}" push --quiet "$image" "oci-archive:$2.partial:$image"
mv "$2.partial" "$2"
