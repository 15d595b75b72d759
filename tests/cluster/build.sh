#!/usr/bin/env bash
# Builds the cluster's components from pinned Go modules into ignored folders, .cache/NAME-VERSION, and the image of the
# sandbox container. A second run builds nothing. OUTRIGGER_CACHE names another place than .cache at the repository's root.
#
# A folder is built anew when a file of its module here changed: its stamp is their checksum. Every binary is built
# under another name and moved when it is whole, so that an interrupted build leaves nothing half done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=${OUTRIGGER_CACHE:-$root/.cache}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
export OUTRIGGER_CACHE=$cache
# Memory is there: the compiler need not collect its garbage as often as it does on its own.
export CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" GOGC=400

die() { echo "tests/cluster: $*" >&2; exit 1; }
command -v go >/dev/null || die "Go is not on the PATH; it builds the real Kubernetes components that the tests run against"

# The version that a module of ours pins for one module: read from its go.mod, so that it is written down once.
pinned() { # FOLDER MODULE
    local version
    version=$(awk -v module="$2" '$1 == "require" { $1 = ""; $0 = $0 } $1 == module && $2 ~ /^v[0-9]/ { print substr($2, 2); exit }' "$here/$1/go.mod")
    [[ -n $version ]] || die "$1/go.mod does not pin $2"
    echo "$version"
}

checksum() { # FOLDER FLAGS: of every file in the folder, their names, the flags and the compiler
    (cd "$here/$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum; echo "$2"; go version) | sha256sum | cut -d' ' -f1
}

# Builds packages of one module into one folder, unless its stamp says that they are there.
build() { # FOLDER OUT LDFLAGS PACKAGE=NAME...
    local folder=$1 out=$cache/$2 flags="-s -w $3" started stamp name
    shift 3
    mkdir -p "$out"
    # Two test runs may start at once; the second waits and then finds the work done.
    exec 9>"$out/.lock"
    flock 9
    stamp=$(checksum "$folder" "$flags $*")
    if [[ $(cat "$out/.stamp" 2>/dev/null) == "$stamp" ]]; then
        return
    fi
    started=$(date +%s)
    for pair in "$@"; do
        name=${pair#*=}
        echo "building $name ($(basename "$out"))"
        (cd "$here/$folder" && go build -trimpath -ldflags "$flags" -o "$out/$name.partial" "${pair%%=*}")
        mv "$out/$name.partial" "$out/$name"
    done
    echo "$stamp" >"$out/.stamp"
    echo "built $(basename "$out") in $(($(date +%s) - started)) s"
}

version_of() { # PART: the folder's name says it
    case $1 in
        kubernetes) pinned modules/kubernetes k8s.io/kubernetes ;;
        containerd) pinned modules/containerd github.com/containerd/containerd/v2 ;;
        coredns) pinned modules/coredns github.com/coredns/coredns ;;
        helm) pinned modules/helm helm.sh/helm/v4 ;;
        provisioner) pinned modules/provisioner sigs.k8s.io/sig-storage-lib-external-provisioner/v13 ;;
        etcd) pinned ../etcd/server go.etcd.io/etcd/server/v3 ;;
        pause) echo 1 ;;
    esac
}

kubernetes() {
    local version component base=k8s.io/component-base/version
    version=$(version_of kubernetes)
    IFS=. read -r major minor _ <<<"$version"
    # Without a version of their own the components report v0.0.0 and refuse each other.
    build modules/kubernetes "kubernetes-$version" \
        "-X $base.gitVersion=v$version -X $base.gitMajor=$major -X $base.gitMinor=$minor -X $base.gitTreeState=clean" \
        .=kubernetes
    for component in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
        ln -sf kubernetes "$cache/kubernetes-$version/$component"
    done
}

containerd() {
    local version module=github.com/containerd/containerd/v2
    version=$(version_of containerd)
    build modules/containerd "containerd-$version" "-X $module/version.Version=v$version" \
        $module/cmd/containerd=containerd $module/cmd/containerd-shim-runc-v2=containerd-shim-runc-v2 $module/cmd/ctr=ctr
}

coredns() {
    build modules/coredns "coredns-$(version_of coredns)" "" .=coredns
}

helm() {
    local version
    version=$(version_of helm)
    build modules/helm "helm-$version" "-X helm.sh/helm/v4/internal/version.version=v$version" helm.sh/helm/v4/cmd/helm=helm
}

provisioner() {
    build modules/provisioner "provisioner-$(version_of provisioner)" "" .=provisioner
}

# It is told the versions, so that it starts those that are pinned now and not another that the cache still holds.
clusterctl() {
    local part folders=
    for part in kubernetes containerd coredns helm provisioner etcd pause; do
        folders+=,$part-$(version_of "$part")
    done
    build clusterctl clusterctl "-X main.pinned=${folders#,}" .=clusterctl
}

started=$(date +%s)
for part in "${@:-kubernetes containerd coredns helm provisioner clusterctl etcd pause}"; do
    for name in $part; do
        case $name in
            kubernetes | containerd | coredns | helm | provisioner | clusterctl) $name ;;
            etcd) bash "$here/../etcd/build.sh" >/dev/null ;;
            pause) bash "$here/images/build.sh" pause "$cache/pause-$(version_of pause)/pause.tar" >/dev/null ;;
            *) die "no part is named '$name': kubernetes containerd coredns helm provisioner clusterctl etcd pause" ;;
        esac
    done
done
echo "built into $cache in $(($(date +%s) - started)) s"
