package conformance_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// checkpoint is a good bundle of Rekor v2 whose checkpoint has other signatures.
func checkpoint(signatures func(in *instance) func(text string) string) func(in *instance) material {
	return func(in *instance) material {
		_, b := in.happy2(nil)
		first(b).InclusionProof.Checkpoint.Envelope = in.checkpoint2(first(b), signatures(in))
		return plain(b)
	}
}

// without is a good bundle of Rekor v2 without one line of its checkpoint, which is signed as it is then.
func without(line int) func(in *instance) material {
	return func(in *instance) material {
		_, b := in.happy2(nil)
		text, _, _ := strings.Cut(first(b).GetInclusionProof().GetCheckpoint().GetEnvelope(), "\n\n")
		lines := strings.Split(text, "\n")
		text = strings.Join(append(lines[:line:line], lines[line+1:]...), "\n") + "\n"
		first(b).InclusionProof.Checkpoint.Envelope = text + "\n" + in.noteSignature2(text)
		return plain(b)
	}
}

// stamped is a bundle of Rekor v2 with timestamps of somebody's making.
func stamped(stamps func(in *instance, signature []byte) [][]byte) func(in *instance) material {
	return func(in *instance) material {
		s, b := in.happy2(nil)
		b.VerificationMaterial.TimestampVerificationData = stampsOf(stamps(in, s.signature)...)
		return plain(b)
	}
}

func lines(parts ...func(text string) string) func(text string) string {
	return func(text string) string {
		var out strings.Builder
		for _, p := range parts {
			out.WriteString(p(text))
		}
		return out.String()
	}
}

// TestRekor2 are the cases of Rekor v2's entries and checkpoints.
func TestRekor2(t *testing.T) {
	t.Parallel()
	witness := func(in *instance, name string) func(string) string { return stranger(in.t, name) }
	judge(t, []suiteCase{
		{name: "rekor2-happy-path", make: func(in *instance) material { _, b := in.happy2(nil); return plain(b) }},
		{name: "rekor2-dsse-happy-path", make: func(in *instance) material {
			_, b := in.happy2(statement(inTotoV1, artifact))
			return plain(b)
		}},
		{name: "rekor2-checkpoint-cosigned", make: checkpoint(func(in *instance) func(string) string {
			return lines(in.noteSignature2, witness(in, "witness.example.test"))
		})},
		{name: "rekor2-checkpoint-multiple-cosigs", make: checkpoint(func(in *instance) func(string) string {
			return lines(in.noteSignature2, witness(in, "witness1.example.test"), witness(in, "witness2.example.test"))
		})},
		{name: "rekor2-checkpoint-origin-not-first", make: checkpoint(func(in *instance) func(string) string {
			return lines(witness(in, "witness.example.test"), in.noteSignature2)
		})},
		{name: "rekor2-checkpoint-two-sigs-cosigned", make: checkpoint(func(in *instance) func(string) string {
			return lines(in.noteSignature2, witness(in, rekor2Host), witness(in, "witness.example.test"))
		})},
		{name: "rekor2-checkpoint-two-sigs-from-origin", make: checkpoint(func(in *instance) func(string) string {
			return lines(in.noteSignature2, witness(in, rekor2Host))
		})},
		{name: "rekor2-checkpoint-missing-log-signature_fail", make: checkpoint(func(*instance) func(string) string {
			return func(string) string { return "" }
		}), says: "checkpoint"},
		{name: "rekor2-checkpoint-no-matching-signature_fail", make: checkpoint(func(in *instance) func(string) string {
			return witness(in, "witness.example.test")
		}), says: "checkpoint"},
		{name: "rekor2-checkpoint-signed-by-another-of-its-name_fail", make: checkpoint(func(in *instance) func(string) string {
			return witness(in, rekor2Host)
		}), says: "checkpoint"},
		{name: "rekor2-checkpoint-missing-origin_fail", make: without(0), says: "checkpoint"},
		{name: "rekor2-checkpoint-missing-size_fail", make: without(1), says: "checkpoint"},
		{name: "rekor2-checkpoint-missing-root-hash_fail", make: without(2), says: "checkpoint"},
		{name: "rekor2-no-inclusion-proof_fail", make: func(in *instance) material {
			_, b := in.happy2(nil)
			first(b).InclusionProof = nil
			return plain(b)
		}, says: "inclusion proof"},
		{name: "rekor2-inclusion-proof-corrupted-hash_fail", make: func(in *instance) material {
			_, b := in.happy2(nil)
			first(b).GetInclusionProof().GetHashes()[0][0] ^= 1
			return plain(b)
		}, says: "verifying inclusion"},
		{name: "rekor2-entry-of-another-artifact_fail", make: func(in *instance) material {
			s, b := in.happy2(nil)
			other := (&signed{key: s.key, cert: s.cert, artifact: []byte("another\n")}).sign(in.t)
			b.VerificationMaterial.TlogEntries = one(in.logged2(other.hashedrekord2(in.t)))
			return plain(b)
		}, says: "verifying inclusion"},
		{name: "rekor2-log-validity-end-inclusive", make: retired(1, 0)},
		{name: "rekor2-log-no-longer-valid_fail", make: retired(1, -time.Second), says: "not enough verified log entries"},
		{name: "rekor1-log-no-longer-valid_fail", make: retired(0, -time.Second), says: "not enough verified log entries"},
		{name: "rekor1-log-no-longer-valid-and-no-promise_fail", make: func(in *instance) material {
			m := retired(0, -time.Second)(in)
			first(m.bundle).InclusionPromise = nil
			return m
		}, says: "not enough verified log entries"},
		{name: "rekor2-dsse-invalid-sig_fail", make: otherEnvelope(func(in *instance, s *signed) *signed {
			s.key = newKey(in.t)
			return s
		}), says: "signature"},
		{name: "rekor2-dsse-mismatch-envelope_fail", make: otherEnvelope(func(_ *instance, s *signed) *signed {
			s.payload = statement(inTotoV01, artifact)
			return s
		}), says: "verifying inclusion"},
		{name: "rekor2-dsse-mismatch-sig_fail", make: otherEnvelope(func(_ *instance, s *signed) *signed { return s }), says: "verifying inclusion"},
	})
}

// retired is a good bundle, logged and stamped, whose log is trusted until so long after it was.
func retired(log int, end time.Duration) func(in *instance) material {
	return func(in *instance) material {
		s, root := in.by(leafSpec{}, nil), in.trustedRoot()
		e := []*protorekor.TransparencyLogEntry{in.logged1(s.hashedrekord1(in.t), in.at), in.logged2(s.hashedrekord2(in.t))}[log]
		root.GetTlogs()[log].GetPublicKey().ValidFor = &protocommon.TimeRange{
			Start: timestamppb.New(in.at.AddDate(-1, 0, 0)), End: timestamppb.New(in.at.Add(end)),
		}
		return material{bundle: s.bundle(v03, one(e), in.tsa.stamp(in.t, s.signature, in.at, false)), root: root}
	}
}

// otherEnvelope logs one envelope, and shows one that was signed anew, with a timestamp of its own.
func otherEnvelope(change func(in *instance, s *signed) *signed) func(in *instance) material {
	return func(in *instance) material {
		s, b := in.happy2(statement(inTotoV1, artifact))
		other := *s
		shown := change(in, &other).sign(in.t)
		return plain(shown.bundle(v03, b.GetVerificationMaterial().GetTlogEntries(), in.tsa.stamp(in.t, shown.signature, in.at, false)))
	}
}

// TestTimestamps are the cases of Rekor v2's bundles whose time comes from timestamp authorities.
func TestTimestamps(t *testing.T) {
	t.Parallel()
	// narrow is a trusted root that trusts the authority only in a time that ends before its timestamp.
	narrow := func(in *instance, end time.Time) *prototrustroot.TrustedRoot {
		root := in.trustedRoot()
		root.GetTimestampAuthorities()[0].ValidFor = &protocommon.TimeRange{Start: timestamppb.New(in.at.AddDate(-1, 0, 0)), End: timestamppb.New(end)}
		return root
	}
	judge(t, []suiteCase{
		{name: "rekor2-timestamp-without-embedded-cert", make: stamped(func(in *instance, sig []byte) [][]byte {
			return [][]byte{in.tsa.stamp(in.t, sig, in.at, false)}
		})},
		{name: "rekor2-timestamp-with-embedded-cert", make: stamped(func(in *instance, sig []byte) [][]byte {
			return [][]byte{in.tsa.stamp(in.t, sig, in.at, true)}
		})},
		{name: "rekor2-timestamp-with-expired-cert-chain", make: func(in *instance) material {
			// The library that signs timestamps writes the time of day into them, too: the authority's certificate must be valid now.
			in.at = time.Now().UTC().Truncate(time.Second)
			in.tsa = in.newStamper(in.at.AddDate(-1, 0, 0), in.at.Add(2*time.Second))
			_, b := in.happy2(nil)
			time.Sleep(time.Until(in.tsa.leaf.NotAfter.Add(time.Second)))
			return plain(b)
		}},
		{name: "trust-root-tsa-validity-end-inclusive", make: func(in *instance) material {
			_, b := in.happy2(nil)
			return material{bundle: b, root: narrow(in, in.at)}
		}},
		{name: "rekor2-no-timestamp_fail", make: stamped(func(*instance, []byte) [][]byte { return nil }), says: "timestamp"},
		{name: "rekor2-timestamp-outside-trust-root-tsa-validity_fail", make: func(in *instance) material {
			_, b := in.happy2(nil)
			return material{bundle: b, root: narrow(in, in.at.Add(-time.Minute))}
		}, says: "timestamp"},
		{name: "rekor2-timestamp-wrong-tsa-validity-borrow_fail", make: func(in *instance) material {
			_, b := in.happy2(nil)
			root := narrow(in, in.at.Add(-time.Minute))
			always := &protocommon.TimeRange{Start: timestamppb.New(in.at.AddDate(-1, 0, 0))}
			root.TimestampAuthorities = append(root.GetTimestampAuthorities(), authority(always))
			return material{bundle: b, root: root}
		}, says: "chain is empty"},
		{name: "rekor2-timestamp-of-another-trusted-tsa-validity-borrow_fail", make: func(in *instance) material {
			_, b := in.happy2(nil)
			root := narrow(in, in.at.Add(-time.Minute))
			other := in.newStamper(in.at.AddDate(-1, 0, 0), in.at.AddDate(1, 0, 0))
			always := &protocommon.TimeRange{Start: timestamppb.New(in.at.AddDate(-1, 0, 0))}
			root.TimestampAuthorities = append(root.GetTimestampAuthorities(), authority(always, other.leaf, other.root))
			return material{bundle: b, root: root}
		}, says: "timestamp"},
		{name: "rekor2-timestamp-outside-tsa-cert-validity_fail", make: func(in *instance) material {
			in.tsa = in.newStamper(in.at.AddDate(-1, 0, 0), in.at.Add(-time.Minute))
			_, b := in.happy2(nil)
			return plain(b)
		}, says: "timestamp"},
		{name: "rekor2-timestamp-payload-mismatch_fail", make: stamped(func(in *instance, _ []byte) [][]byte {
			return [][]byte{in.tsa.stamp(in.t, []byte("another"), in.at, false)}
		}), says: "timestamp"},
		{name: "rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail", make: untrusted(true), says: "timestamp"},
		{name: "rekor2-timestamp-untrusted-tsa-without-embedded-cert_fail", make: untrusted(false), says: "timestamp"},
		{name: "rekor2-timestamp-with-incorrect-time_fail", make: stamped(func(in *instance, sig []byte) [][]byte {
			return [][]byte{in.tsa.stamp(in.t, sig, in.at.Add(time.Hour), false)}
		}), says: "valid"},
		{name: "rekor2-multiple-timestamps-one-outside-cert-validity_fail", make: stamped(func(in *instance, sig []byte) [][]byte {
			return [][]byte{in.tsa.stamp(in.t, sig, in.at, false), in.tsa.stamp(in.t, sig, in.at.Add(time.Hour), false)}
		}), says: "valid"},
		{name: "timestamp-alone-where-there-is-no-log", make: func(in *instance) material {
			s, root := in.by(leafSpec{}, nil), in.trustedRoot()
			root.Tlogs = nil
			return material{bundle: s.bundle(v03, nil, in.tsa.stamp(in.t, s.signature, in.at, false)), root: root}
		}},
		{name: "timestamp-alone-where-there-is-a-log_fail", make: func(in *instance) material {
			s := in.by(leafSpec{}, nil)
			return plain(s.bundle(v03, nil, in.tsa.stamp(in.t, s.signature, in.at, false)))
		}, says: "not enough verified log entries"},
		{name: "certificate-of-a-fulcio-without-certificate-transparency", make: func(in *instance) material {
			s, root := in.by(leafSpec{noSCT: true}, nil), in.trustedRoot()
			root.Ctlogs = nil
			return material{bundle: s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))), root: root}
		}},
	})
}

func untrusted(embed bool) func(in *instance) material {
	return stamped(func(in *instance, sig []byte) [][]byte {
		other := in.newStamper(in.at.AddDate(-1, 0, 0), in.at.AddDate(1, 0, 0))
		return [][]byte{other.stamp(in.t, sig, in.at, embed)}
	})
}

// TestManagedKeys are the cases of bare keys.
func TestManagedKeys(t *testing.T) {
	t.Parallel()
	with := func(in *instance, s *signed, b *protobundle.Bundle) material {
		return material{bundle: b, key: pemOf(in.t, s.key.Public())}
	}
	empty := []byte(`{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	alone := func(payload []byte) func(in *instance) material {
		return func(in *instance) material {
			s := in.byKey(payload)
			m := with(in, s, s.bundle(v03, one(in.logged2(s.hashedrekord2(in.t)))))
			return m
		}
	}
	stampedBy := func(stamp func(in *instance, s *signed) []byte) func(in *instance) material {
		return func(in *instance) material {
			s := in.byKey(nil)
			return with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at)), stamp(in, s)))
		}
	}
	judge(t, []suiteCase{
		{name: "managed-key-entry-of-a-log-that-is-no-longer-valid_fail", make: func(in *instance) material {
			s, m := in.byKey(nil), retired(1, -time.Second)(in)
			m.bundle = s.bundle(v03, one(in.logged2(s.hashedrekord2(in.t))), in.tsa.stamp(in.t, s.signature, in.at, false))
			m.key = pemOf(in.t, s.key.Public())
			return m
		}, says: "not enough verified log entries"},
		{name: "managed-key-happy-path", make: stampedBy(func(in *instance, s *signed) []byte { return in.tsa.stamp(in.t, s.signature, in.at, true) })},
		{name: "managed-key-and-trusted-root", make: func(in *instance) material {
			s := in.byKey(nil)
			return with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}},
		{name: "managed-key-and-empty-trusted-root", make: func(in *instance) material {
			s := in.byKey(nil)
			m := with(in, s, s.bundle(v03, nil))
			m.rootText = empty
			return m
		}},
		{name: "managed-key-without-log-entry", make: func(in *instance) material {
			s := in.byKey(nil)
			return with(in, s, s.bundle(v03, nil))
		}},
		{name: "managed-key-with-rekor2-and-no-timestamp", make: alone(nil)},
		{name: "managed-key-dsse-with-rekor2-and-no-timestamp", make: alone(statement(inTotoV1, artifact))},
		{name: "managed-key-dsse-with-hashedrekord", make: func(in *instance) material {
			s := in.byKey(statement(inTotoV1, artifact))
			return with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}},
		{name: "managed-key-intoto", make: func(in *instance) material {
			s := in.byKey(statement(inTotoV1, artifact))
			return with(in, s, s.bundle(v03, one(in.logged1(s.intoto2(in.t), in.at))))
		}},
		{name: "dsse-statement-missing-type_fail", make: alone(statement("", artifact)), says: "_type"},
		{name: "dsse-statement-unknown-type_fail", make: alone(statement("https://in-toto.io/Statement/v2", artifact)), says: "_type"},
		{name: "managed-key-wrong-key_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			return material{bundle: s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))), key: pemOf(in.t, newKey(in.t).Public())}
		}, says: "not signed by the authority"},
		{name: "managed-key-wrong-key-without-log-entry_fail", make: func(in *instance) material {
			return material{bundle: in.byKey(nil).bundle(v03, nil), key: pemOf(in.t, newKey(in.t).Public())}
		}, says: "not signed by the authority"},
		{name: "managed-key-no-key_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			return plain(s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
		}, says: "not signed by the authority"},
		{name: "managed-key-and-client-identity_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			m := with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
			m.both = true
			return m
		}, says: "exclude each other"},
		{name: "managed-key-for-a-certificate_fail", make: func(in *instance) material {
			s, b := in.happy1(v03)
			return with(in, s, b)
		}, says: "not signed by the authority"},
		{name: "managed-key-swapped-tlog-entry_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			other := (&signed{key: s.key, artifact: []byte("another\n")}).sign(in.t)
			return with(in, s, s.bundle(v03, one(in.logged1(other.hashedrekord1(in.t), in.at))))
		}, says: "signature does not match"},
		{name: "managed-key-set-invalid-signature_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			b := s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at)))
			first(b).InclusionPromise.SignedEntryTimestamp = sign(in.t, in.rekor1, []byte("another"))
			return with(in, s, b)
		}, says: "not enough verified log entries"},
		{name: "managed-key-message-digest-mismatch_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			b := s.bundle(v03, nil)
			b.GetMessageSignature().GetMessageDigest().GetDigest()[0] ^= 1
			return with(in, s, b)
		}, says: "signature"},
		{name: "managed-key-entry-of-a-log-that-is-not-trusted_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			m := with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
			m.root = newInstance(in.t).trustedRoot()
			return m
		}, says: "not enough verified log entries"},
		{name: "managed-key-entry-where-no-log-is-trusted_fail", make: func(in *instance) material {
			s := in.byKey(nil)
			m := with(in, s, s.bundle(v03, one(in.logged1(s.hashedrekord1(in.t), in.at))))
			m.rootText = empty
			return m
		}, says: "the trust root has no log"},
		{name: "managed-key-timestamp-of-another-signature_fail", make: stampedBy(func(in *instance, _ *signed) []byte {
			return in.tsa.stamp(in.t, []byte("another"), in.at, true)
		}), says: "timestamp"},
	})
}

// TestProposedCases is a case that sigstore-go can't read yet, and its sibling that it can: when it learns to, this says so.
func TestProposedCases(t *testing.T) {
	t.Parallel()
	in := newInstance(t)
	s := in.byKey(statement(inTotoV1, artifact))
	b := s.bundle(v03, one(in.logged1(s.intoto2(t), in.at)))
	first(b).InclusionPromise, first(b).IntegratedTime = nil, 0
	m := material{bundle: b, key: pemOf(t, s.key.Public()), root: in.trustedRoot()}
	if code, says := m.run(t, false); code != 0 {
		t.Errorf("with a checkpoint that names its tree: %s", says)
	}
	text := rekor1Host + "\n2\n" + base64.StdEncoding.EncodeToString(first(b).GetInclusionProof().GetRootHash()) + "\n"
	first(b).InclusionProof.Checkpoint.Envelope = text + "\n" + noteLine(rekor1Host, logID(t, in.rekor1.Public())[:4], sign(t, in.rekor1, []byte(text)))
	if code, says := m.run(t, false); code != 1 || !strings.Contains(says, "verifying log entry") {
		t.Errorf("intoto-canonical-log-entry: exit %d: %s", code, says)
	}
}
