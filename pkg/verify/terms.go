package verify

import (
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
)

// Demand says whether something must come with a signature. The zero value leaves it to the kind of authority.
type Demand uint8

// The demands.
const (
	Unsaid   Demand = iota
	Optional        // need not be there; where it is there and verifies, its time counts
	Required        // must be there and verify
)

// Terms say what must come with an authority's signatures beside the signatures themselves. The zero Terms ask for nothing more.
//
// What is optional and doesn't verify is as if it weren't there: whoever may push could take it away as well.
type Terms struct {
	// Log is about an entry in a transparency log of Trust (Rekor v1 or v2).
	Log Demand
	// Timestamp is about a signed timestamp (RFC 3161) of an authority of Trust.
	Timestamp Demand
	// Trust says whose logs and timestamp authorities count. Keyless authorities bring their own.
	Trust *Trust
	// Repository is where the authority's papers are kept; the zero Repository means beside the image.
	Repository name.Repository
}

// check tells what contradicts itself.
func (t Terms) check() error {
	switch {
	case t.Log > Required || t.Timestamp > Required:
		return errors.New("a demand that isn't known")
	case t.Log == Required && t.Trust == nil:
		return errors.New("a transparency log entry is required, but no trust root says whose logs count")
	case t.Timestamp == Required && t.Trust == nil:
		return errors.New("a timestamp is required, but no trust root says whose timestamps count")
	case t.Log == Required && t.Trust.logs == 0:
		return errors.New("a transparency log entry is required, but the trust root has no log")
	case t.Log == Required && t.Trust.logs < t.Trust.thresholds.Logs:
		return fmt.Errorf("entries in %d transparency logs are required, but the trust root has %d", t.Trust.thresholds.Logs, t.Trust.logs)
	case t.Timestamp == Required && t.Trust.stampers == 0:
		return errors.New("a timestamp is required, but the trust root has no timestamp authority")
	case t.Timestamp == Required && t.Trust.stampers < t.Trust.thresholds.Timestamps:
		return fmt.Errorf("timestamps of %d authorities are required, but the trust root has %d", t.Trust.thresholds.Timestamps, t.Trust.stampers)
	}
	return nil
}

// parts are what the fingerprint of an authority takes from its terms; none for the zero Terms.
func (t Terms) parts() [][]byte {
	var out [][]byte
	if t.Trust != nil {
		out = append(out, []byte("trust"), t.Trust.fingerprint[:])
	}
	if t.Log == Required || t.Timestamp == Required {
		out = append(out, []byte("terms"), []byte{byte(t.Log), byte(t.Timestamp)})
	}
	if t.elsewhere() {
		out = append(out, []byte("repository"), []byte(t.Repository.Name()))
	}
	return out
}

func (t Terms) elsewhere() bool { return t.Repository != (name.Repository{}) }
