package main

import (
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// signer is who could sign an image so that an authority counts it: whoever that is, on its terms, by the instance of its TrustRoot.
type signer struct {
	voucher explainedVoucher
	terms   verify.Terms
	root    trustRoot
	image   name.Digest
}

// publicStamps is the public good instance's timestamp authority, as cosign asks it.
const publicStamps = "https://timestamp.sigstore.dev/api/v1/timestamp"

// command signs with cosign 2.6 and later. In capitals is what only the signer knows; a comment says whose it is.
func (s signer) command() string {
	command, comment := "cosign sign ", ""
	if s.voucher.Repository != "" {
		command = "COSIGN_REPOSITORY=" + s.voucher.Repository + " " + command
	}
	public := s.root.named == "" || s.root.named == compile.DefaultTrustRoot
	if s.terms.Trust != nil && !public {
		comment = "  # of the instance of TrustRoot " + ascii(s.root.named)
	}
	switch logged, stamped := s.terms.Log == verify.Required, s.terms.Timestamp == verify.Required; {
	case s.voucher.Kind == "certificate":
		// Without a signing config: cosign 3 checks what it signs by one against a trusted root, which an own PKI is not in.
		command += "--key import-cosign.key --certificate leaf.pem --certificate-chain chain.pem --use-signing-config=false " + s.services(logged, stamped, public)
		comment += "  # the key: cosign import-key-pair --key leaf.key"
	case s.voucher.Kind == "key" && s.terms.Trust == nil:
		command += "--key KEY "
	default:
		if s.voucher.Kind == "key" {
			command += "--key KEY "
		}
		if !public {
			command += "--trusted-root FILE --signing-config FILE "
			if stamped {
				comment += ", with a timestamp authority in the signing config"
			}
		} else if stamped {
			command += "--use-signing-config=false --timestamp-server-url " + publicStamps + " "
		}
	}
	return command + s.image.String() + comment
}

// services are the flags by which a signature is logged and stamped as is demanded, and by which nobody is asked otherwise.
func (s signer) services(logged, stamped, public bool) (flags string) {
	switch {
	case !logged:
		flags = "--tlog-upload=false "
	case !public:
		flags = "--rekor-url URL "
	}
	switch {
	case stamped && public:
		flags += "--timestamp-server-url " + publicStamps + " "
	case stamped:
		flags += "--timestamp-server-url URL "
	}
	return flags
}
