package compile

import (
	"errors"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

func (c *checker) authorities(at *field.Path, list []v1alpha1.Authority, cluster bool) {
	if c.tooMany(at, len(list), maxAuthorities) {
		return
	}
	for i := range list {
		if c.full() {
			return
		}
		c.authorityName(at.Index(i).Child("name"), list[i].Name)
		c.authority(at.Index(i), &list[i], cluster)
	}
	n := 0
	for _, keys := range c.keys {
		n += len(keys)
	}
	if n > MaxKeys {
		c.invalid(at, "%d keys, at most %d in one policy: split the policy", n, MaxKeys)
	}
	if c.identities > maxIdentities {
		c.invalid(at, "%d identities, at most %d in one policy: split the policy", c.identities, maxIdentities)
	}
	if c.steps > maxPolicySteps {
		c.invalid(at, "the patterns of identities make more than %d steps together: write + or * in place of large counts, or split the policy", maxPolicySteps)
	}
}

// authority checks one authority: exactly one kind, and on which terms it counts.
func (c *checker) authority(at *field.Path, a *v1alpha1.Authority, cluster bool) {
	n := 0
	if a.Key != nil {
		n++
		c.key(at.Child("key"), a.Name, a.Key, cluster)
	}
	if a.Keyless != nil {
		n++
		c.keyless(at.Child("keyless"), a.Name, a.Keyless)
	}
	if a.Certificate != nil {
		n++
		c.certificate(at.Child("certificate"), a.Name, a.Certificate)
	}
	switch n {
	case 0:
		c.required(at.Child("key"), "set exactly one of key, keyless and certificate: an authority without any would vouch for nothing")
	case 1:
	default:
		c.invalid(at, "set exactly one of key, keyless and certificate, not %d: write one authority for each, and name both in by", n)
	}
	c.demand(at.Child("log"), a.Log)
	c.demand(at.Child("timestamp"), a.Timestamp)
	if at = at.Child("repository"); a.Repository != "" && !c.badLength(at, a.Repository, maxURI, "write HOST/PATH, for instance registry.example.com/papers") {
		if _, err := parseRepository(a.Repository); err != nil {
			c.invalid(at, "%s", line(err.Error(), maxProblem))
		}
	}
}

func (c *checker) demand(at *field.Path, d v1alpha1.Demand) {
	switch d {
	case "", v1alpha1.DemandOptional, v1alpha1.DemandRequired:
	default:
		c.add(field.NotSupported(at, d, []v1alpha1.Demand{v1alpha1.DemandOptional, v1alpha1.DemandRequired}))
	}
}

func (c *checker) key(at *field.Path, name string, k *v1alpha1.KeyAuthority, cluster bool) {
	c.trustRootName(at.Child("trustRoot"), k.TrustRoot)
	n := 0
	if k.Data != "" {
		n++
		keys, err := parseKeys([]byte(k.Data))
		switch {
		case err != nil:
			c.invalid(at.Child("data"), "%v", err)
		case len(keys) > verify.MaxKeys:
			c.invalid(at.Child("data"), "%d keys, at most %d in one authority", len(keys), verify.MaxKeys)
		default:
			c.keys[name] = keys
		}
	}
	if k.SecretRef != nil {
		n++
		c.keySelector(at.Child("secretRef"), kindSecret, k.SecretRef)
	}
	if k.ConfigMapRef != nil {
		n++
		c.keySelector(at.Child("configMapRef"), kindConfigMap, k.ConfigMapRef)
	}
	if k.KMS != "" {
		n++
		if !cluster {
			c.add(field.Forbidden(at.Child("kms"), "only in a ClusterImagePolicy, since it uses the install's cloud identity: use data, secretRef or configMapRef"))
		}
		c.badLength(at.Child("kms"), k.KMS, maxURI, "write the key's URI, for instance awskms:///alias/release")
		c.unsupported(at.Child("kms"), "publish the key's public half in data, secretRef or configMapRef")
	}
	switch n {
	case 0:
		c.required(at, "set exactly one of data (PEM), secretRef and configMapRef")
	case 1:
	default:
		c.invalid(at, "set exactly one of data, secretRef, configMapRef and kms, not %d: write one authority for each, and name both in by", n)
	}
}

// keySelector checks a reference to an entry. The object is in the policy's own namespace: a name can't say another one.
func (c *checker) keySelector(at *field.Path, kind string, s *v1alpha1.KeySelector) {
	cure := "name the " + kind + ", which must be " + c.own
	if !c.badLength(at.Child("name"), s.Name, maxObjectName, cure) {
		switch {
		case strings.Contains(s.Name, "/"):
			c.invalid(at.Child("name"), "%.80q names a namespace too, and %s reads none but its own: put the %s %s, and name it alone", s.Name, c.reader, kind, c.own)
		case len(validation.IsDNS1123Subdomain(s.Name)) > 0:
			c.invalid(at.Child("name"), "%.80q is no name of an object (lower-case letters, digits, - and .): %s", s.Name, cure)
		}
	}
	if !c.badLength(at.Child("key"), s.Key, maxObjectName, c.entry) && len(validation.IsConfigMapKey(s.Key)) > 0 {
		c.invalid(at.Child("key"), "%.80q is no name of an entry (letters, digits, -, _ and .): %s", s.Key, c.entry)
	}
}

// What to do about an entry that isn't named.
const (
	entryOfKey  = "name the entry that holds the PEM, for instance cosign.pub"
	entryOfRoot = "name the entry that holds the trusted_root.json, for instance trusted_root.json"
)

// ownNamespace says where a policy's Secrets and ConfigMaps must be.
func ownNamespace(cluster bool) string {
	if cluster {
		return "in the install's namespace"
	}
	return "in the policy's own namespace"
}

var privateKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`)

// errPrivateKey never says which: errors go to terminals, logs and statuses.
var errPrivateKey = errors.New("this is a private key: take it out of here and use the public one, of a new pair since others may have read this one")

// parseKeys is verify.ParseKeys that knows every kind of private key by its heading.
func parseKeys(text []byte) ([]verify.Key, error) {
	if len(text) <= verify.MaxPolicyPEM && privateKey.Match(text) {
		return nil, errPrivateKey
	}
	return verify.ParseKeys(text)
}
