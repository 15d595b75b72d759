#!/usr/bin/env bash
# Installs the Debian packages that a build or a test needs, when one is missing. With the argument `cluster`, those of the
# real Kubernetes cluster for tests too; with `chaos`, those of a private network.
set -euo pipefail
missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need protoc protobuf-compiler
need cc build-essential
need strace strace
need python3 python3
if [ "${1:-}" = chaos ] || [ "${1:-}" = cluster ]; then
  need ip iproute2
  need nft nftables
  need nsenter util-linux
fi
if [ "${1:-}" = cluster ]; then
  need runc runc
  need /usr/lib/cni/bridge containernetworking-plugins
  need iptables iptables
  need buildah buildah
  need busybox busybox-static
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "missing packages: ${missing[*]}; install them as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
