#!/bin/sh
# Puts the verifiers, witnesses and the issuer of other people, at the versions and hashes of the lock files beside this script,
# under target/interop/. Silent, and without network, when they are there already.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into="$here/../../target/interop"
mkdir -p "$into"

want=$(cat "$here/package-lock.json" "$here/requirements.txt" "$here/jose-verifier.mjs" \
    "$here/oidc-issuer.mjs" \
    "$here/witnesses/go.mod" "$here/witnesses/go.sum" | cksum)
[ "$(cat "$into/installed" 2>/dev/null)" = "$want" ] && exit 0
rm -f "$into/installed"

echo "interop: installing npm jose and oidc-provider, PyJWT and the schemas of CycloneDX under target/interop"
cp "$here/package.json" "$here/package-lock.json" "$here/jose-verifier.mjs" "$here/oidc-issuer.mjs" "$into/"
(cd "$into" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)

python3 -m venv --clear "$into/python"
"$into/python/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    -r "$here/requirements.txt"

echo "interop: building litewitness and omniwitness under target/interop"
# Not optimised: that takes half the time, and they are asked a few hundred times.
(cd "$here/witnesses" && PATH="$into/python/bin:$PATH" GOTOOLCHAIN=local GOPATH="$into/go" GOCACHE="$into/go/cache" \
    CGO_ENABLED=0 GOFLAGS="-mod=readonly -modcacherw" go build -gcflags="all=-N -l" -o "$into/witnesses/" tool)
rm -rf "$into/go"

echo "$want" >"$into/installed"
