#!/bin/sh
# Makes the fixtures of this folder anew, with new keys:
#
#	make.sh keys     those of README.md, by bare keys, in half a minute
#	make.sh signers  those of SIGNERS.md, by a Sigstore and a PKI of our own, in four minutes
#	make.sh          both
#
# The first run builds two cosigns and a registry, and for the signers what
# test/keyless runs, from the Go module proxy (1 to 3 minutes each) and keeps them
# in the user's cache; after that it needs no network.
set -eu
sets=${*:-keys signers}
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pratique/cosign
mkdir -p "$cache"

# build NAME MODULE@VERSION installs a program and gives it the name NAME.
build() {
	[ -x "$cache/$1" ] && return
	echo "building $1 from $2"
	tmp=$(mktemp -d "$cache/build.XXXXXX")
	GOBIN=$tmp go install "$2"
	mv "$tmp"/* "$cache/$1"
	rmdir "$tmp"
}
build cosign2 github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5
build cosign3 github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
build distribution3 github.com/distribution/distribution/v3/cmd/registry@v3.1.2

case $sets in
*signers*) hack/binaries fulcio rekor-tiles timestamp-server >/dev/null ;;
esac

for set in $sets; do
	go run ./test/interop/cmd/make -set "$set" \
		-cosign2 "$cache/cosign2" -cosign3 "$cache/cosign3" -distribution "$cache/distribution3"
done
case $sets in
*signers*) UPDATE_GOLDEN=1 go test ./test/interop -run '^TestEverySignerInEveryLayoutIsJudgedRight$' ;;
esac
