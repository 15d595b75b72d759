#!/usr/bin/env bash
# Builds the real etcd and etcdctl from pinned Go modules into an ignored cache folder, and prints that folder.
#
# The folder is keyed by the version in server/go.mod, so that a second run builds nothing. OUTRIGGER_CACHE names
# another place than .cache at the repository's root. Everything but the folder's name goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
version=$(sed -n 's|^require go.etcd.io/etcd/server/v3 v||p' "$here/server/go.mod")
ctl_version=$(awk '$1 == "go.etcd.io/etcd/etcdctl/v3" { sub("^v", "", $2); print $2 }' "$here/etcdctl/go.mod")
if [[ -z $version || $version != "$ctl_version" ]]; then
    echo "tests/etcd: server/go.mod pins etcd '$version' and etcdctl/go.mod pins etcdctl '$ctl_version': pin both to one version" >&2
    exit 1
fi

cache=${OUTRIGGER_CACHE:-$root/.cache}
out=$cache/etcd-$version
mkdir -p "$out"

# Two test runs may start at once; the second waits and then finds the work done.
exec 9>"$out/.lock"
flock 9

if [[ ! -x $out/etcd || ! -x $out/etcdctl ]]; then
    if ! command -v go >/dev/null; then
        echo "tests/etcd: Go is not on the PATH; it builds the real etcd that tests and benchmarks run against" >&2
        exit 1
    fi
    export CGO_ENABLED=0 GOFLAGS=-mod=readonly
    build() { # FOLDER PACKAGE NAME: built under another name, so that an interrupted build leaves nothing half done
        echo "building $3 $version" >&2
        (cd "$here/$1" && go build -trimpath -ldflags "-s -w" -o "$out/$3.partial" "$2") >&2
        mv "$out/$3.partial" "$out/$3"
    }
    build server . etcd
    build etcdctl go.etcd.io/etcd/etcdctl/v3 etcdctl
fi
echo "$out"
