#!/usr/bin/env bash
# Every fuzz target under libFuzzer, one after the other: SECONDS_EACH (60), TARGET (only that one). What it found stays in
# .cache/fuzz/<target>/; a failing input's path is printed, and `cargo fuzz run` takes it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
toolchain=${FUZZ_TOOLCHAIN:-nightly}
if ! $cargo "+$toolchain" --version >/dev/null 2>&1; then
  echo "tests/fuzz.sh: cargo-fuzz wants a nightly toolchain: rustup toolchain install nightly, or FUZZ_TOOLCHAIN=name" >&2
  exit 1
fi
tools=$PWD/.cache/cargo-fuzz
[ -x "$tools/bin/cargo-fuzz" ] || $cargo install --locked --quiet --root "$tools" cargo-fuzz
export PATH="$tools/bin:$PATH"
targets=(wal-recovery peer-message snapshot snapshot-header snapshot-content command client-requests manifest)
if [ -n "${TARGET:-}" ]; then targets=("$TARGET"); fi
# What is good already is what libFuzzer begins with, beside what it found before.
$cargo run --locked --quiet -p outrigger-fuzz -- --write-seeds .cache/fuzz
for target in "${targets[@]}"; do
  corpus=.cache/fuzz/$target
  mkdir -p "$corpus"
  echo "=== fuzz $target"
  $cargo "+$toolchain" fuzz run --fuzz-dir tests/fuzz/libfuzzer --target-dir target/fuzz "$target" "$PWD/$corpus" -- \
    -max_total_time="${SECONDS_EACH:-60}" -rss_limit_mb=1024 -timeout=10 -verbosity=0 -print_final_stats=1
done
