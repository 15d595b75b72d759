#!/usr/bin/env bash
# Builds the release binaries as they are shipped, and puts them into target/release: static, because there is no libc in an image.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
# With a target named, the flags are not for build scripts and macros, which cannot be static.
RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" -p outrigger-sidecar -p outrigger-operator --bins
mkdir -p target/release
for binary in outrigger outrigger-operator kubectl-outrigger; do
  # A link, so that a build that changed nothing costs nothing.
  ln -f "target/$target/release/$binary" "target/release/$binary"
done
