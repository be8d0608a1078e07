package main

import (
	"slices"
	"strings"

	"github.com/pratique-dev/pratique/test/interop"
	"github.com/pratique-dev/pratique/test/keyless"
)

// signing is one command by which a cell's tool signs.
type signing struct {
	cell  interop.Cell
	state interop.State
	stack *keyless.Stack
	token string // the identity token, for a keyless cell
}

// late tells that the log and the timestamp authorities are an hour ahead, when Fulcio's certificates of ten minutes are over.
func (s signing) late() bool { return s.state == interop.Expired && kindOf(s.cell.Signer).token }

// claims say whose token signs.
func claims(state interop.State) keyless.Claims {
	switch state {
	case interop.OtherIdentity:
		return keyless.Claims{Email: interop.OtherPerson, Issuer: interop.Issuer}
	case interop.OtherIssuer:
		return keyless.Claims{Email: interop.Developer, Issuer: interop.OtherTokens}
	}
	return keyless.Claims{Email: interop.Developer, Issuer: interop.Issuer}
}

// args are the command's arguments.
func (s signing) args(image string) []string {
	verb := []string{"sign"}
	if s.cell.Attests {
		verb = []string{"attest", "--type", "spdxjson", "--predicate", "sbom.spdx.json"}
	}
	if s.cell.Signer == interop.KeylessIntoto {
		verb = append(verb, "--rekor-entry-type", "intoto")
	}
	return slices.Concat(verb, s.who(), s.flags(), []string{"-y", image})
}

// who are the flags for whoever signs.
func (s signing) who() []string {
	k := kindOf(s.cell.Signer)
	switch {
	case k.token:
		return []string{"--identity-token", s.token}
	case k.key && s.state == interop.OtherIdentity:
		return []string{"--key", "b.key"}
	case k.key:
		return []string{"--key", "a.key"}
	}
	leaf := leafFor(s.cell.Signer, s.state)
	return []string{"--key", leaf + ".key", "--certificate", leaf + ".crt", "--certificate-chain", leaf + "-chain.crt"}
}

// flags are those for the layout, and for whoever is to see the signature. cosign 3 does without a signing config where one would have it
// refuse what it made: late signatures, and certificates that are not of its trusted root.
func (s signing) flags() []string {
	k := kindOf(s.cell.Signer)
	bundle := s.cell.Layout == interop.Bundle
	config := k.rekor2 || (k.rekor1 || k.stamp) && s.cell.Tool == interop.Cosign3 && bundle && !k.certificate && !s.late()
	var list []string
	switch {
	case s.cell.Tool == interop.Cosign2 && bundle:
		list = append(list, "--new-bundle-format")
	case s.cell.Tool == interop.Cosign3 && !config:
		list = append(list, "--use-signing-config=false")
	}
	if s.cell.Tool == interop.Cosign3 && !bundle {
		list = append(list, "--new-bundle-format=false")
	}
	if config {
		return append(list, s.config(k)...)
	}
	if k.token {
		list = append(list, "--fulcio-url", s.stack.Fulcio)
	}
	if k.rekor1 {
		list = append(list, "--rekor-url", s.stack.Rekor1)
	} else {
		list = append(list, "--tlog-upload=false")
	}
	switch {
	case k.stamp && s.late():
		list = append(list, "--timestamp-server-url", s.stack.OffTimestamping)
	case k.stamp:
		list = append(list, "--timestamp-server-url", s.stack.Timestamping)
	}
	return list
}

// config are the flags for a signing config. With a trusted root cosign checks what it signed, and would refuse what is late.
func (s signing) config(k kind) []string {
	switch {
	case k.rekor2 && s.late():
		return []string{"--signing-config", keyless.ConfigRekor2OffTimestamp}
	case k.rekor2:
		return []string{"--signing-config", keyless.ConfigRekor2, "--trusted-root", keyless.TrustedRootFile}
	case k.rekor1:
		return []string{"--signing-config", keyless.ConfigRekor1, "--trusted-root", keyless.TrustedRootFile}
	}
	return []string{"--signing-config", keyless.ConfigTimestamp, "--trusted-root", keyless.TrustedRootFile}
}

// shown is the command as SIGNERS.md prints it: the image, which comes last, has a name there.
func (s signing) shown(args []string) string {
	line := program(s.cell.Tool) + " " + strings.Join(args[:len(args)-1], " ") + " $IMAGE"
	var pairs []string
	for _, p := range [][2]string{
		{s.token, "$(token " + claims(s.state).Email + " " + claims(s.state).Issuer + ")"},
		{s.stack.OffTimestamping, "$TIMESTAMP_AN_HOUR_AHEAD"}, {s.stack.Timestamping, "$TIMESTAMP"},
		{s.stack.Fulcio, "$FULCIO"}, {s.stack.Rekor1, "$REKOR"},
	} {
		if p[0] != "" {
			pairs = append(pairs, p[0], p[1])
		}
	}
	line = strings.NewReplacer(pairs...).Replace(line)
	if s.late() {
		line = strings.Replace(line, "$REKOR", "$REKOR_AN_HOUR_AHEAD", 1)
	}
	return line
}
