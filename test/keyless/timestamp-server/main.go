// Command timestamp-server is Sigstore's timestamp authority with a key and a certificate chain made in
// memory, on loopback.
//
// It runs the server of github.com/sigstore/timestamp-authority as it is. That project's own command can't
// be used beside others: it serves metrics on port 2112 of every address, and ends where somebody has that
// port already.
package main

import (
	"flag"
	"log"
	"time"

	"github.com/sigstore/timestamp-authority/v2/pkg/server"
	"github.com/spf13/viper"
)

// policy is the policy OID of Sigstore's timestamps, the default of the project's own command.
const policy = "1.3.6.1.4.1.57264.2"

// timeout bounds the reading of a request and the writing of its answer.
const timeout = 30 * time.Second

func main() {
	port := flag.Int("port", 0, "port of 127.0.0.1 to listen on")
	flag.Parse()
	if *port == 0 || flag.NArg() != 0 {
		log.Fatal("usage: timestamp-server -port PORT")
	}
	// What the project's command takes as flags, its server reads from here.
	viper.Set("timestamp-signer", "memory")
	viper.Set("timestamp-signer-hash", "sha256")
	viper.Set("default-policy-oid", policy)
	viper.Set("accepted-policy-oids", []string{policy})

	s := server.NewRestAPIServer("127.0.0.1", *port, []string{"http"}, false, timeout, timeout)
	s.CleanupTimeout = timeout
	if err := s.Serve(); err != nil {
		log.Fatal(err)
	}
}
