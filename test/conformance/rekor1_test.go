package conformance_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// TestHappyPaths are the cases of certificates and Rekor v1 that must be verified.
func TestHappyPaths(t *testing.T) {
	t.Parallel()
	happy := func(mediaType string) func(in *instance) material {
		return func(in *instance) material { _, b := in.happy1(mediaType); return plain(b) }
	}
	judge(t, []suiteCase{
		{name: "happy-path-v0.1", make: func(in *instance) material {
			_, b := in.happy1(v01)
			first(b).InclusionProof = nil
			return plain(b)
		}},
		{name: "happy-path-v0.1-with-proof", make: happy(v01)},
		{name: "happy-path-v0.2", make: happy(v02)},
		{name: "happy-path-v0.3", make: happy(v03Old)},
		{name: "happy-path-v0.3-new-mediaType", make: happy(v03)},
		{name: "happy-path-intoto-in-dsse-v3", make: func(in *instance) material { _, b := in.dsse1(); return plain(b) }},
		{name: "happy-path-v0.1-with-intermediate", make: func(in *instance) material {
			s, b := in.happy1(v01)
			b.VerificationMaterial.Content = chain(s.cert, in.intermediate)
			return plain(b)
		}},
		{name: "intoto-with-custom-trust-root", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			return plain(s.bundle(v02, one(in.logged1(s.intoto2(in.t), in.at)), in.tsa.stamp(in.t, s.signature, in.at, true)))
		}},
		{name: "bundle-with-sct-with-extensions", make: func(in *instance) material {
			s := in.by(leafSpec{extensions: []byte{0, 0, 5, 1, 2, 3, 4, 5}}, nil)
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}},
		{name: "sct-duplicate-intermediate-name", make: func(in *instance) material {
			_, b := in.happy1(v03)
			root := in.trustedRoot()
			r, intermediate, _ := in.newCA()
			decoy := authority(root.GetCertificateAuthorities()[0].GetValidFor(), intermediate, r)
			root.CertificateAuthorities = append([]*prototrustroot.CertificateAuthority{decoy}, root.GetCertificateAuthorities()...)
			return material{bundle: b, root: root}
		}},
		{name: "dsse-with-hashedrekord-happy-path", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV1, artifact))
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at)), in.tsa.stamp(in.t, s.signature, in.at, false)))
		}},
		{name: "trust-root-tlog-validity-end-inclusive", make: func(in *instance) material {
			_, b := in.happy1(v03)
			root := in.trustedRoot()
			root.GetTlogs()[0].GetPublicKey().ValidFor = &protocommon.TimeRange{
				Start: timestamppb.New(in.at.Add(-time.Hour)), End: timestamppb.New(in.at),
			}
			return material{bundle: b, root: root}
		}},
	})
}

// TestBundlesThatAreNone are the cases of bundles that don't have a bundle's form.
func TestBundlesThatAreNone(t *testing.T) {
	t.Parallel()
	replace := func(old, new string) func([]byte) []byte {
		return func(text []byte) []byte {
			if !bytes.Contains(text, []byte(old)) {
				t.Errorf("no %s in the bundle", old)
			}
			return bytes.Replace(text, []byte(old), []byte(new), 1)
		}
	}
	edited := func(edit func([]byte) []byte) func(in *instance) material {
		return func(in *instance) material { _, b := in.happy1(v03); return material{bundle: b, edit: edit} }
	}
	judge(t, []suiteCase{
		{name: "bundle-malformed-json_fail", make: edited(func(text []byte) []byte { return text[:len(text)-1] }), says: "not a Sigstore bundle"},
		{name: "bundle-unknown-version_fail", make: edited(replace(v03, "application/vnd.dev.sigstore.bundle+json;version=99.9")), says: "unsupported media type"},
		{name: "bundle-of-version-0.4_fail", make: edited(replace("v0.3+json", "v0.4+json")), says: "not yet supported"},
		{name: "bundle-invalid-base64-signature_fail", make: edited(replace(`"signature":"`, `"signature":"%%%`)), says: "not a Sigstore bundle"},
		{name: "bundle-with-duplicate-member_fail", make: edited(replace(`{"mediaType"`, `{"mediaType":"x","mediaType"`)), says: "not a Sigstore bundle"},
		{name: "bundle-negative-log-index_fail", make: func(in *instance) material {
			_, b := in.happy1(v01)
			first(b).LogIndex, first(b).InclusionProof = -1, nil
			return plain(b)
		}, says: "nil value in transaction log entry"},
		{name: "bundle-empty-certificate-chain_fail", make: func(in *instance) material {
			_, b := in.happy1(v02)
			b.VerificationMaterial.Content = chain()
			return plain(b)
		}, says: "certificate"},
		{name: "bundle-with-root-cert_fail", make: func(in *instance) material {
			s, b := in.happy1(v03)
			b.VerificationMaterial.Content = chain(s.cert, in.intermediate, in.root)
			return plain(b)
		}, says: "certificate"},
		{name: "bundle-with-root-cert-that-old-clients-wrote", make: func(in *instance) material {
			s, b := in.happy1(v02)
			b.VerificationMaterial.Content = chain(s.cert, in.intermediate, in.root)
			return plain(b)
		}},
		{name: "intoto-missing-inclusion-proof_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			b := s.bundle(v02, one(in.logged1(s.intoto2(in.t), in.at)))
			first(b).InclusionProof = nil
			return plain(b)
		}, says: "inclusion proof missing"},
		{name: "trust-root-tlog-missing-validity-start_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			root := in.trustedRoot()
			root.GetTlogs()[0].GetPublicKey().ValidFor = &protocommon.TimeRange{End: timestamppb.New(in.at.Add(time.Hour))}
			return material{bundle: b, root: root}
		}, says: "validity period start"},
	})
}

// TestSignersThatAreNone are the cases of certificates that prove nothing.
func TestSignersThatAreNone(t *testing.T) {
	t.Parallel()
	of := func(spec func(in *instance) leafSpec) func(in *instance) material {
		return func(in *instance) material {
			s := in.by(spec(in), nil)
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}
	}
	judge(t, []suiteCase{
		{name: "bundle-from-wrong-instance_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			return material{bundle: b, root: newInstance(in.t).trustedRoot()}
		}, says: "not enough verified log entries"},
		{name: "certificate-of-another-instance_fail", make: func(in *instance) material {
			other := newInstance(in.t)
			in.intermediate, in.ca, in.root = other.intermediate, other.ca, other.root
			_, b := in.happy1(v03)
			root := in.trustedRoot()
			root.CertificateAuthorities = newInstance(in.t).trustedRoot().GetCertificateAuthorities()
			return material{bundle: b, root: root}
		}, says: "leaf certificate"},
		{name: "invalid-ct-key_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			root := in.trustedRoot()
			root.GetCtlogs()[0].GetPublicKey().RawBytes = pkixOf(in.t, newKey(in.t).Public())
			return material{bundle: b, root: root}
		}, says: "signed certificate timestamp"},
		{name: "sct-missing_fail", make: of(func(*instance) leafSpec { return leafSpec{noSCT: true} }), says: "signed certificate timestamp"},
		{name: "sct-of-another-log_fail", make: of(func(in *instance) leafSpec { return leafSpec{ct: newKey(in.t)} }), says: "signed certificate timestamp"},
		{name: "wrong-identity_fail", make: of(func(*instance) leafSpec { return leafSpec{subject: identity + "x"} }), says: "not signed by the authority"},
		{name: "integrated-time-in-future_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), time.Now().AddDate(1, 0, 0)))))
		}, says: "valid"},
		{name: "intoto-expired-certificate_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			root := in.trustedRoot()
			root.GetCertificateAuthorities()[0].ValidFor = &protocommon.TimeRange{
				Start: timestamppb.New(in.at.AddDate(0, -2, 0)), End: timestamppb.New(in.at.AddDate(0, -1, 0)),
			}
			return material{bundle: s.bundle(v02, one(in.logged1(s.intoto2(in.t), in.at))), root: root}
		}, says: "leaf certificate"},
		{name: "intoto-set-outside-signing-cert-validity_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			return plain(s.bundle(v02, one(in.logged1(s.intoto2(in.t), in.at.Add(time.Hour))), in.tsa.stamp(in.t, s.signature, in.at, true)))
		}, says: "valid"},
		{name: "intoto-tsa-timestamp-outside-cert-validity_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			return plain(s.bundle(v02, one(in.logged1(s.intoto2(in.t), in.at)), in.tsa.stamp(in.t, s.signature, in.at.Add(time.Hour), true)))
		}, says: "valid"},
		{name: "timestamp-of-another-signature-beside-a-good-entry_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at)), in.tsa.stamp(in.t, []byte("another"), in.at, true)))
		}, says: "timestamp"},
	})
}

// TestEntriesThatAreNone are the cases of Rekor v1 whose entry proves nothing, or something else.
func TestEntriesThatAreNone(t *testing.T) {
	t.Parallel()
	broken := func(break1 func(in *instance, b *protobundle.Bundle)) func(in *instance) material {
		return func(in *instance) material { _, b := in.happy1(v03); break1(in, b); return plain(b) }
	}
	flip := func(data []byte) { data[len(data)-1] ^= 1 }
	judge(t, []suiteCase{
		{name: "set-invalid-signature_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			first(b).InclusionPromise.SignedEntryTimestamp = sign(in.t, in.rekor1, []byte("another"))
		}), says: "not enough verified log entries"},
		{name: "inclusion-proof-corrupted-hash_fail", make: broken(func(_ *instance, b *protobundle.Bundle) { flip(first(b).GetInclusionProof().GetHashes()[0]) }), says: "calculated root"},
		{name: "invalid-inclusion-proof_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			_, old := in.happy1(v03)
			first(b).InclusionProof = first(old).GetInclusionProof()
		}), says: "calculated root"},
		{name: "checkpoint-missing_fail", make: broken(func(_ *instance, b *protobundle.Bundle) { first(b).InclusionProof.Checkpoint = nil }), says: "checkpoint"},
		{name: "checkpoint-wrong-roothash_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			other := sha256.Sum256([]byte("another"))
			first(b).InclusionProof.Checkpoint.Envelope = in.checkpoint1(other[:], in.rekor1)
		}), says: "proof root hash does not match"},
		{name: "checkpoint-bad-keyhint_fail", make: broken(func(_ *instance, b *protobundle.Bundle) {
			note := &first(b).InclusionProof.Checkpoint.Envelope
			lead := "\u2014 " + rekor1Host + " "
			at := strings.LastIndex(*note, lead) + len(lead)
			other := byte('A')
			if (*note)[at] == other {
				other = 'B'
			}
			*note = (*note)[:at] + string(other) + (*note)[at+1:]
		}), says: "signature on checkpoint"},
		{name: "invalid-checkpoint-signature_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			text, _, _ := strings.Cut(first(b).GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n\n")
			line := noteLine(rekor1Host, logID(in.t, in.rekor1.Public())[:4], sign(in.t, in.rekor1, []byte("another")))
			first(b).InclusionProof.Checkpoint.Envelope = text + "\n\n" + line
		}), says: "signature on checkpoint"},
		{name: "checkpoint-of-another-log_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			first(b).InclusionProof.Checkpoint.Envelope = in.checkpoint1(first(b).GetInclusionProof().GetRootHash(), newKey(in.t))
		}), says: "signature on checkpoint"},
		{name: "incorrect-public-key_fail", make: func(in *instance) material {
			s, b := in.happy1(v03)
			forged := *s
			forged.cert, _ = in.leaf(leafSpec{})
			first(b).CanonicalizedBody = forged.hashedrekord1(in.t).GetCanonicalizedBody()
			return plain(b)
		}, says: "entry body"},
		{name: "incorrect-public-key-that-is-logged_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			forged := *s
			forged.cert, _ = in.leaf(leafSpec{})
			return plain(s.bundle(v03, one(in.logged1(forged.hashedrekord1(in.t), in.at))))
		}, says: "entry body"},
		{name: "cve-2022-36056-swapped-tlog-entry_fail", make: broken(func(in *instance, b *protobundle.Bundle) {
			_, other := in.happy1(v03)
			b.VerificationMaterial.TlogEntries = other.GetVerificationMaterial().GetTlogEntries()
		}), says: "signature does not match"},
		{name: "wrong-hashedrekord-entry_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			other := (&signed{key: s.key, cert: s.cert, artifact: []byte("another\n")}).sign(in.t)
			return plain(s.bundle(v03, one(in.logged1(other.hashedrekord1(in.t), in.at))))
		}, says: "signature does not match"},
		{name: "wrong-hashedrekord-cert-and-sig_fail", make: func(in *instance) material {
			s, other := in.by(leafSpec{}, nil), in.by(leafSpec{}, nil)
			return plain(s.bundle(v03, one(in.logged1(other.hashedrekord1(in.t), in.at))))
		}, says: "signature does not match"},
		{name: "wrong-hashedrekord-artifact_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			other := *s
			other.artifact = []byte("another\n")
			return plain(s.bundle(v03, one(in.logged1(other.hashedrekord1(in.t), in.at))))
		}, says: "entry body"},
		{name: "intoto-log-entry-mismatch_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV01, artifact))
			other := (&signed{key: s.key, cert: s.cert, payload: statement(inTotoV01, []byte("another\n"))}).sign(in.t)
			return plain(s.bundle(v02, one(in.logged1(other.intoto2(in.t), in.at))))
		}, says: "signature does not match"},
	})
}

// TestContentsThatAreNone are the cases whose signature is of something else.
func TestContentsThatAreNone(t *testing.T) {
	t.Parallel()
	judge(t, []suiteCase{
		{name: "wrong-material_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			return material{bundle: b, artifact: []byte("another\n")}
		}, says: "signature"},
		{name: "signature-mismatch_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			b.GetMessageSignature().Signature = sign(in.t, newKey(in.t), artifact)
			return plain(b)
		}, says: "signature"},
		{name: "message-digest-mismatch_fail", make: func(in *instance) material {
			_, b := in.happy1(v03)
			b.GetMessageSignature().GetMessageDigest().GetDigest()[0] ^= 1
			return plain(b)
		}, says: "artifact d"},
		{name: "dsse-invalid-sig_fail", make: func(in *instance) material {
			_, b := in.dsse1()
			b.GetDsseEnvelope().GetSignatures()[0].Sig = sign(in.t, newKey(in.t), pae(b.GetDsseEnvelope().GetPayload()))
			return plain(b)
		}, says: "signature"},
		{name: "dsse-invalid-sig-that-is-logged_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV1, artifact))
			s.signature = sign(in.t, newKey(in.t), s.message())
			return plain(s.bundle(v03, one(in.logged1(s.dsse1(in.t), in.at))))
		}, says: "could not verify envelope"},
		{name: "dsse-mismatch-envelope_fail", make: func(in *instance) material {
			s, b := in.dsse1()
			other := (&signed{key: s.key, cert: s.cert, payload: statement(inTotoV01, artifact)}).sign(in.t)
			b.Content = other.bundle(v03, nil).GetContent()
			return plain(b)
		}, says: "signature does not match"},
		{name: "dsse-mismatch-sig_fail", make: func(in *instance) material {
			s, b := in.dsse1()
			b.GetDsseEnvelope().GetSignatures()[0].Sig = sign(in.t, s.key, s.message())
			return plain(b)
		}, says: "signature does not match"},
		{name: "dsse-of-another-artifact_fail", make: func(in *instance) material {
			_, b := in.dsse1()
			return material{bundle: b, artifact: []byte("another\n")}
		}, says: "digest"},
		{name: "dsse-with-two-signatures_fail", make: func(in *instance) material {
			_, b := in.dsse1()
			env := b.GetDsseEnvelope()
			env.Signatures = append(env.GetSignatures(), proto.CloneOf(env.GetSignatures()[0]))
			return plain(b)
		}, says: "signature"},
		{name: "dsse-with-hashedrekord-invalid-sig_fail", make: func(in *instance) material {
			return in.dsseAsHashedrekord(func(s *signed) *signed {
				other := *s
				other.key = newKey(in.t)
				return other.sign(in.t)
			})
		}, says: "signature"},
		{name: "dsse-with-hashedrekord-invalid-sig-that-is-logged_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV1, artifact))
			s.signature = sign(in.t, newKey(in.t), s.message())
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}, says: "entry body"},
		{name: "dsse-with-hashedrekord-of-another-artifact_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV1, artifact))
			return material{bundle: s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))), artifact: []byte("another\n")}
		}, says: "digest"},
		{name: "dsse-with-hashedrekord-of-the-payload-alone_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, statement(inTotoV1, artifact))
			bare := &signed{key: s.key, cert: s.cert, artifact: s.payload, signature: s.signature}
			return plain(s.bundle(v03, one(in.logged1(bare.hashedrekord1(in.t), in.at))))
		}, says: "entry body"},
		{name: "dsse-with-hashedrekord-mismatch-envelope_fail", make: func(in *instance) material {
			return in.dsseAsHashedrekord(func(s *signed) *signed {
				other := *s
				other.payload = statement(inTotoV01, artifact)
				return other.sign(in.t)
			})
		}, says: "signature does not match"},
		{name: "dsse-with-hashedrekord-mismatch-sig_fail", make: func(in *instance) material {
			return in.dsseAsHashedrekord(func(s *signed) *signed { other := *s; return other.sign(in.t) })
		}, says: "signature does not match"},
	})
}

// dsseAsHashedrekord logs one envelope and shows another, which is stamped.
func (in *instance) dsseAsHashedrekord(shown func(s *signed) *signed) material {
	s := in.by(leafSpec{}, statement(inTotoV1, artifact))
	logged := in.logged1(s.hashedrekord1(in.t), in.at)
	other := shown(s)
	return plain(other.bundle(v03, one(logged), in.tsa.stamp(in.t, other.signature, in.at, false)))
}
