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
	wanted  wanted
	// Of the command line that asks.
	program   string
	plainHTTP []string
}

// publicStamps is the public good instance's timestamp authority, as cosign asks it.
const publicStamps = "https://timestamp.sigstore.dev/api/v1/timestamp"

// command makes the paper that is wanted: a signature with cosign 2.6 and later, and so whatever a log or a certificate is needed for; the rest with
// this program. In capitals is what only the signer knows; a comment says whose it is.
func (s signer) command() string {
	command, comment := "cosign sign ", ""
	switch {
	case s.wanted.signature():
	case s.voucher.Kind == "key" && s.terms.Log != verify.Required:
		return s.attest()
	default:
		command = "cosign attest --type " + s.wanted.cosign + " --predicate FILE "
	}
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

// attest makes a statement with this program, which signs with keys and writes to no log.
func (s signer) attest() string {
	command, comment := s.program+" attest "+s.image.String()+" --type "+s.wanted.attest+" --predicate FILE --key KEY", ""
	if s.wanted.environment != "" {
		command = s.program + " approve " + s.image.String() + " --environment " + s.wanted.environment + " --key KEY"
	}
	if s.voucher.Repository != "" {
		command += " --repository " + s.voucher.Repository
	}
	public := s.root.named == "" || s.root.named == compile.DefaultTrustRoot
	switch stamped := s.terms.Timestamp == verify.Required; {
	case stamped && public:
		command += " --timestamp-server " + publicStamps
	case stamped:
		command, comment = command+" --timestamp-server URL", "  # of the instance of TrustRoot "+ascii(s.root.named)
	}
	for _, host := range s.plainHTTP {
		command += " --plain-http " + host
	}
	return command + comment
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
