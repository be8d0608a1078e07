package main

import (
	"github.com/pratique-dev/pratique/test/interop"
)

// another is the tag of an image that each cell's signer has signed besides: what is copied from it is true, about something else.
const another interop.State = "other"

// cells lists the cells to make, without what only making them tells.
func cells() []interop.Cell {
	var list []interop.Cell
	add := func(signer interop.Signer, tool interop.Tool, lay interop.Layout, reg interop.Registry, attests bool) {
		c := interop.Cell{Signer: signer, Tool: tool, Layout: lay, Registry: reg, Attests: attests}
		c.Name = string(signer) + "-" + program(tool) + "-" + c.Place()
		if attests {
			c.Name = "sbom-" + c.Name
		}
		c.Repository = "signers/" + c.Name
		list = append(list, c)
	}
	everywhere := func(signer interop.Signer, attests bool) {
		for _, tool := range tools() {
			add(signer, tool, interop.Legacy, interop.ReferrersAPI, attests)
			add(signer, tool, interop.Bundle, interop.ReferrersAPI, attests)
			add(signer, tool, interop.Bundle, interop.FallbackTag, attests)
		}
	}
	for _, signer := range []interop.Signer{
		interop.Key, interop.KeyRekor1, interop.KeyRekor2, interop.KeyTimestamp,
		interop.KeylessRekor1, interop.KeylessRekor2, interop.KeylessTimestamp,
		interop.PKI, interop.PKIRekor1, interop.PKITimestamp, interop.PKIDNS, interop.PKISubject,
	} {
		everywhere(signer, false)
	}
	everywhere(interop.KeylessRekor1, true)
	everywhere(interop.KeylessTimestamp, true)
	add(interop.KeylessIntoto, interop.Cosign2, interop.Legacy, interop.ReferrersAPI, true)
	return list
}

// kind is what there is to a signer.
type kind struct {
	key, token, certificate bool // who signs: one of these
	rekor1, rekor2, stamp   bool // who saw it
}

func kindOf(s interop.Signer) kind {
	switch s {
	case interop.Key:
		return kind{key: true}
	case interop.KeyRekor1:
		return kind{key: true, rekor1: true}
	case interop.KeyRekor2:
		return kind{key: true, rekor2: true, stamp: true}
	case interop.KeyTimestamp:
		return kind{key: true, stamp: true}
	case interop.KeylessRekor1, interop.KeylessIntoto:
		return kind{token: true, rekor1: true}
	case interop.KeylessRekor2:
		return kind{token: true, rekor2: true, stamp: true}
	case interop.KeylessTimestamp:
		return kind{token: true, stamp: true}
	case interop.PKIRekor1:
		return kind{certificate: true, rekor1: true}
	case interop.PKITimestamp:
		return kind{certificate: true, stamp: true}
	}
	return kind{certificate: true}
}

// states are those that a cell has, in the order in which they are made.
func states(c interop.Cell) []interop.State {
	k := kindOf(c.Signer)
	if c.Signer == interop.PKIDNS || c.Signer == interop.PKISubject {
		return []interop.State{interop.Signed, interop.OtherIdentity}
	}
	list := []interop.State{interop.Signed, interop.OtherIdentity}
	if !k.key {
		list = append(list, interop.OtherIssuer, interop.Expired)
	}
	if k.certificate {
		list = append(list, interop.ExpiredIssuer)
	}
	list = append(list, interop.OtherDigest, interop.Forged, interop.Tampered)
	if k.rekor1 || k.rekor2 || k.stamp {
		list = append(list, interop.TamperedProof, interop.Swapped)
	}
	if k.rekor2 {
		list = append(list, interop.SwappedTimestamp)
	}
	return list
}

// impossible tells that the tools refuse to make a cell.
func impossible(c interop.Cell) bool {
	return kindOf(c.Signer).rekor2 && (c.Tool == interop.Cosign2 || c.Layout == interop.Legacy)
}
