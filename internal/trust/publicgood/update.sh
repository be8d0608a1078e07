#!/bin/sh
# Refreshes trusted_root.json and root.json from a release of the npm package @sigstore/tuf, which the sigstore project
# ships them in. Needs the network, npm and node:
#
#   internal/trust/publicgood/update.sh 5.0.1
#
# Then put the version, its date and the sums that are printed into README.md, publicgood.go and publicgood_test.go, and
# run go test ./internal/trust: it checks that the new root.json is signed by the keys that sigstore-go has.
set -eu
version=${1:?which version of @sigstore/tuf}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "@sigstore/tuf@$version" >/dev/null
tar xzf ./*.tgz package/seeds.json
node -e '
const fs = require("fs");
const seed = JSON.parse(fs.readFileSync("package/seeds.json"))["https://tuf-repo-cdn.sigstore.dev"];
fs.writeFileSync("root.json", Buffer.from(seed["root.json"], "base64"));
fs.writeFileSync("trusted_root.json", Buffer.from(seed.targets["trusted_root.json"], "base64"));
'
cp root.json trusted_root.json "$here"
cd "$here"
sha256sum trusted_root.json root.json
