package compile

import (
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/pkg/verify"
)

func (c *checker) authorities(at *field.Path, list []v1alpha1.Authority, cluster bool) {
	if c.tooMany(at, len(list), maxAuthorities) {
		return
	}
	for i := range list {
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
}

// authority checks one authority: exactly one kind, and of the kinds the one that this version has.
func (c *checker) authority(at *field.Path, a *v1alpha1.Authority, cluster bool) {
	n := 0
	if a.Key != nil {
		n++
		c.key(at.Child("key"), a.Name, a.Key, cluster)
	}
	if a.Keyless != nil {
		n++
		c.unsupported(at.Child("keyless"), "use key")
	}
	if a.Certificate != nil {
		n++
		c.unsupported(at.Child("certificate"), "use key")
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
	if a.Repository != "" {
		c.unsupported(at.Child("repository"), "leave it out, and keep the papers beside the image")
	}
}

func (c *checker) demand(at *field.Path, d v1alpha1.Demand) {
	switch d {
	case "", v1alpha1.DemandOptional:
	case v1alpha1.DemandRequired:
		c.unsupported(at, "leave it out, or use Optional")
	default:
		c.errs = append(c.errs, field.NotSupported(at, d, []v1alpha1.Demand{v1alpha1.DemandOptional}))
	}
}

func (c *checker) key(at *field.Path, name string, k *v1alpha1.KeyAuthority, cluster bool) {
	n := 0
	if k.Data != "" {
		n++
		keys, err := verify.ParseKeys([]byte(k.Data))
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
		c.keySelector(at.Child("secretRef"), k.SecretRef)
	}
	if k.ConfigMapRef != nil {
		n++
		c.keySelector(at.Child("configMapRef"), k.ConfigMapRef)
	}
	if k.KMS != "" {
		n++
		if !cluster {
			c.errs = append(c.errs, field.Forbidden(at.Child("kms"), "only in a ClusterImagePolicy, since it uses the install's cloud identity: use data, secretRef or configMapRef"))
		}
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

func (c *checker) keySelector(at *field.Path, s *v1alpha1.KeySelector) {
	c.badLength(at.Child("name"), s.Name, maxObjectName, "name the object, which must be in the policy's own namespace (the install's for a ClusterImagePolicy)")
	c.badLength(at.Child("key"), s.Key, maxObjectName, "name the entry that holds the PEM, for instance cosign.pub")
}
