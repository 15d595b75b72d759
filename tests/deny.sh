#!/usr/bin/env bash
# Checks bans, licenses and sources of all dependencies (deny.toml). cargo-deny is built once into the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
root="${OUTRIGGER_CACHE:-$PWD/.cache}/cargo-deny-$version"
if [ ! -x "$root/bin/cargo-deny" ]; then
  echo "building cargo-deny $version (once)"
  CARGO_TARGET_DIR="$root/target" cargo install cargo-deny --locked --version "$version" --root "$root" --quiet --debug
  rm -rf "$root/target"
fi
"$root/bin/cargo-deny" --log-level error check bans licenses sources
