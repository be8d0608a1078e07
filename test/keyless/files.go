package keyless

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files that Write makes.
const (
	TrustedRootFile    = "trusted_root.json"
	FulcioChainFile    = "fulcio-chain.pem"    // the intermediate, the root
	CTLogKeyFile       = "ctlog.pub"           // these are PKIX in PEM
	Rekor1KeyFile      = "rekor1.pub"          //
	Rekor2KeyFile      = "rekor2.pub"          //
	TimestampChainFile = "timestamp-chain.pem" // the leaf first

	// Signing configs for cosign3 --signing-config, named for what a signature
	// gets: an entry in a log, a timestamp, both.
	ConfigRekor1          = "signing-config-rekor1.json"
	ConfigRekor1Timestamp = "signing-config-rekor1-timestamp.json"
	ConfigRekor2          = "signing-config-rekor2.json" // Rekor v2 gives no time: never without a timestamp
	ConfigTimestamp       = "signing-config-timestamp.json"
	// The same with the timestamp authority whose clock may be off. A cosign3 that
	// is given --trusted-root would see that, and refuse to sign.
	ConfigRekor2OffTimestamp = "signing-config-rekor2-off-timestamp.json"
	ConfigOffTimestamp       = "signing-config-off-timestamp.json"
)

// Write writes what a signer and a verifier need into dir, each part's files
// where the part runs.
func (s *Stack) Write(dir string) error {
	files := map[string][]byte{TrustedRootFile: s.root, FulcioChainFile: s.fulcio.chainPEM()}
	var keys = map[string]any{}
	if s.ct != nil {
		keys[CTLogKeyFile] = s.ct.key.Public()
	}
	if s.rekor != nil {
		keys[Rekor1KeyFile] = s.rekor.key.Public()
	}
	if s.tiles != nil {
		keys[Rekor2KeyFile] = s.tiles.key
	}
	if s.stamps != nil {
		files[TimestampChainFile] = certificatesPEM(s.stamps.chain...)
	}
	for name, key := range keys {
		text, err := publicKeyPEM(key)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files[name] = text
	}
	configs := map[string][]Part{
		ConfigRekor1: {RekorV1}, ConfigRekor1Timestamp: {RekorV1, Timestamp}, ConfigRekor2: {RekorV2, Timestamp}, ConfigTimestamp: {Timestamp},
		ConfigRekor2OffTimestamp: {RekorV2, OffTimestamp}, ConfigOffTimestamp: {OffTimestamp},
	}
	for name, parts := range configs {
		if !s.runs(parts...) {
			continue
		}
		text, err := s.SigningConfig(parts...)
		if err != nil {
			return err
		}
		files[name] = text
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// runs says whether all of these parts do.
func (s *Stack) runs(parts ...Part) bool {
	runs := map[Part]bool{CTLog: s.ct != nil, RekorV1: s.rekor != nil, RekorV2: s.tiles != nil, Timestamp: s.stamps != nil, OffTimestamp: s.off != nil}
	for _, p := range parts {
		if !runs[p] {
			return false
		}
	}
	return true
}

// Environ returns the variables, NAME=VALUE, by which a cosign takes the files
// that Write wrote into dir for the public instance's: it asks no TUF mirror
// then. All of the world but loopback is behind a proxy that isn't there.
func Environ(dir string) []string {
	const nowhere = "http://" + loopback + ":1"
	env := append(withoutProxy(os.Environ()), "HTTP_PROXY="+nowhere, "HTTPS_PROXY="+nowhere)
	for name, file := range map[string]string{
		"SIGSTORE_ROOT_FILE":              FulcioChainFile,
		"SIGSTORE_CT_LOG_PUBLIC_KEY_FILE": CTLogKeyFile,
		"SIGSTORE_REKOR_PUBLIC_KEY":       Rekor1KeyFile,
		"SIGSTORE_TSA_CERTIFICATE_FILE":   TimestampChainFile,
	} {
		if path := filepath.Join(dir, file); exists(path) {
			env = append(env, name+"="+path)
		}
	}
	return env
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// Shell returns lines of assignments for a shell: where the parts are.
func (s *Stack) Shell() string {
	var b strings.Builder
	for _, v := range [][2]string{{"FULCIO_URL", s.Fulcio}, {"REKOR1_URL", s.Rekor1}, {"REKOR2_URL", s.Rekor2}, {"TIMESTAMP_URL", s.Timestamping}, {"OFF_TIMESTAMP_URL", s.OffTimestamping}} {
		fmt.Fprintf(&b, "%s='%s'\n", v[0], v[1])
	}
	return b.String()
}
