package keyless

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
)

// rekor2Host is the origin of Rekor v2's checkpoints. A client takes it from the
// host of the URL that the trusted root has for the log.
const rekor2Host = "rekor2.example.com"

// noteEd25519 is the signature type of an Ed25519 key (c2sp.org/signed-note).
const noteEd25519 = 1

// tiles is Rekor v2.
type tiles struct {
	*process
	url string
	key ed25519.PublicKey
	id  []byte
}

func startTiles(ctx context.Context, programs map[string]string, dir string) (*tiles, error) {
	dir = filepath.Join(dir, "rekor-tiles")
	storage, keyFile := filepath.Join(dir, "storage"), filepath.Join(dir, "key.pem")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return nil, err
	}
	t := &tiles{}
	var private ed25519.PrivateKey
	var err error
	if t.key, private, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	// The log's ID is the key ID of a signed note (c2sp.org/signed-note), whole.
	id := sha256.Sum256(slices.Concat([]byte(rekor2Host), []byte{'\n', noteEd25519}, t.key))
	t.id = id[:]
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		return nil, err
	}
	p := program{
		name: rekorTilesProgram, file: programs[rekorTilesProgram], dir: dir, ports: 3,
		args: func(ports []string) []string {
			return []string{
				"serve", "--http-address=" + loopback, "--http-port=" + ports[0], "--grpc-address=" + loopback, "--grpc-port=" + ports[1],
				"--http-metrics-port=" + ports[2], "--hostname=" + rekor2Host, "--storage-dir=" + storage, "--signer-filepath=" + keyFile,
				// An entry's answer waits for the checkpoint that has it.
				"--checkpoint-interval=100ms", "--batch-max-age=10ms",
			}
		},
		ready: func(ports []string) string { return "http://" + loopback + ":" + ports[0] + "/healthz" },
	}
	process, ports, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	t.process, t.url = process, "http://"+loopback+":"+ports[0]
	return t, nil
}
