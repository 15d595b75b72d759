#!/usr/bin/env bash
# Builds one of the images here, `pause` or `busybox`, as an OCI archive: images/build.sh NAME FILE.tar
#
# The image is named localhost/outrigger-test/NAME:1. Nothing is built when the file is newer than what it is made of.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[[ $# -eq 2 && -f $here/$1/Dockerfile ]] || { echo "usage: images/build.sh pause|busybox FILE.tar" >&2; exit 1; }
name=$1 file=$2 image=localhost/outrigger-test/$1:1

if [[ -f $file && -z $(find "$here" -newer "$file" -path "*/$name/*") ]]; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/context"
cp "$here/$name"/* "$work/context/"
case $name in
    pause) gcc -static -Os -s -o "$work/context/pause" "$here/pause/pause.c" ;;
    busybox) cp "$(command -v busybox)" "$work/context/busybox" ;;
esac

# A store of its own, gone with this run; vfs and chroot, because overlays and namespaces may be refused in a container.
buildah=(buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs)
"${buildah[@]}" bud --isolation chroot --quiet --tag "$image" "$work/context" >/dev/null
mkdir -p "$(dirname "$file")"
rm -f "$file.partial"
"${buildah[@]}" push --quiet "$image" "oci-archive:$file.partial:$image"
mv "$file.partial" "$file"
echo "built $image into $file"
