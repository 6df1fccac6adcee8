#!/bin/sh
# Builds kryoptic, the second independent token of the test suite, from the package registry into target/kryoptic/.
# Quick variant: the system's OpenSSL (3.0.7 or later), hence without Ed25519 and ML-DSA. Takes minutes the first time
# and nothing afterwards. Needs: clang, libclang-dev, libssl-dev, libsqlite3-dev, pkg-config.
set -eu
version=1.5.4
root=$(cd "$(dirname "$0")/../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/kryoptic
module=$out/libkryoptic_pkcs11.so
[ -e "$module" ] && exit 0
mkdir -p "$out/fetch/src"

# The ordinary client fetches the crate; a package that depends on it is all it needs.
printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2024"\n[dependencies]\nkryoptic = "=%s"\n[workspace]\n' \
    "$version" >"$out/fetch/Cargo.toml"
: >"$out/fetch/src/lib.rs"
manifest=$(cargo metadata --format-version 1 --manifest-path "$out/fetch/Cargo.toml" |
    grep -o "\"manifest_path\":\"[^\"]*/kryoptic-$version/Cargo.toml\"" | head -n 1 | cut -d '"' -f 4)
rm -rf "$out/source"
cp -r "$(dirname "$manifest")" "$out/source"
# A package of its own, although it lies inside our workspace.
printf '\n[workspace]\n' >>"$out/source/Cargo.toml"
CARGO_TARGET_DIR="$out/build" cargo build --release --locked --manifest-path "$out/source/Cargo.toml" \
    --no-default-features \
    --features "kryoptic-lib/sqlitedb,kryoptic-lib/ecc_min,kryoptic-lib/hash_all,kryoptic-lib/rsa,kryoptic-lib/dynamic"
cp "$out/build/release/libkryoptic_pkcs11.so" "$module.new"
# Moved at the end, so that a build that was interrupted is not taken for a module.
mv "$module.new" "$module"
rm -rf "$out/build"
