package compile

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/pkg/verify"
)

// trustRoot returns what is wrong with a TrustRoot. plainHTTP are the hosts that may be asked by http, as HOST or HOST:PORT; anyHTTP
// leaves that to whoever asks the mirror.
func trustRootErrors(t *v1alpha1.TrustRoot, plainHTTP []string, anyHTTP bool) field.ErrorList {
	c := checker{reader: "a TrustRoot", own: ownNamespace(true), entry: entryOfRoot}
	spec := field.NewPath("spec")
	c.trustSources(spec.Child("sources"), t.Spec.Sources, plainHTTP, anyHTTP)
	if th := t.Spec.Thresholds; th != nil {
		at := spec.Child("thresholds")
		c.threshold(at.Child("logs"), th.Logs, 1)
		c.threshold(at.Child("timestamps"), th.Timestamps, 1)
		c.threshold(at.Child("signedCertificateTimestamps"), th.SignedCertificateTimestamps, 0)
	}
	return c.all(spec)
}

func (c *checker) threshold(at *field.Path, n *int32, least int32) {
	if n != nil && (*n < least || *n > maxThreshold) {
		c.add(field.Invalid(at, *n, "want "+[]string{"0 (none is asked for)", "1"}[least]+" to 8"))
	}
}

func (c *checker) trustSources(at *field.Path, list []v1alpha1.TrustRootSource, plainHTTP []string, anyHTTP bool) {
	if len(list) == 0 {
		c.required(at, "name at least one source, for instance {public: {}}")
	}
	if len(list) > maxSources {
		c.add(field.Invalid(at, len(list), "at most 8: write another TrustRoot for what is signed by others"))
		return
	}
	total := 0
	for i := range list {
		c.trustSource(at.Index(i), &list[i], plainHTTP, anyHTTP)
		total += len(list[i].Data)
	}
	if total > maxTrustRootText {
		c.invalid(at, "%d bytes of data together, at most %d: take out the sources that aren't needed", total, maxTrustRootText)
	}
}

func (c *checker) trustSource(at *field.Path, s *v1alpha1.TrustRootSource, plainHTTP []string, anyHTTP bool) {
	const fields = "public, data (a trusted_root.json), secretRef, configMapRef and tuf"
	n := 0
	if s.Public != nil {
		n++
	}
	if s.Data != "" {
		n++
		if err := usableRoot([]byte(s.Data)); err != nil {
			c.invalid(at.Child("data"), "%s", line(err.Error(), maxProblem))
		}
	}
	if s.SecretRef != nil {
		n++
		c.keySelector(at.Child("secretRef"), kindSecret, s.SecretRef)
	}
	if s.ConfigMapRef != nil {
		n++
		c.keySelector(at.Child("configMapRef"), kindConfigMap, s.ConfigMapRef)
	}
	if s.TUF != nil {
		n++
		c.mirror(at.Child("tuf"), s.TUF, plainHTTP, anyHTTP)
	}
	switch n {
	case 0:
		c.required(at, "set exactly one of "+fields)
	case 1:
	default:
		c.invalid(at, "set exactly one of %s, not %d: write one source for each", fields, n)
	}
}

func (c *checker) mirror(at *field.Path, s *v1alpha1.TUFSource, plainHTTP []string, anyHTTP bool) {
	const cure = "write the URL of the TUF repository, for instance " + trust.PublicGoodMirror
	switch {
	case s.Mirror == "":
		c.required(at.Child("mirror"), cure)
		return
	case privateKey.MatchString(s.Root):
		c.invalid(at.Child("root"), "%v", errPrivateKey)
		return
	}
	config := mirrorOf(s)
	if rest, ok := strings.CutPrefix(config.URL, "http://"); ok && anyHTTP {
		host, _, _ := strings.Cut(rest, "/")
		plainHTTP = []string{host}
	}
	err := config.Check(trust.Options{PlainHTTP: plainHTTP})
	if err == nil {
		return
	}
	for _, name := range []string{"mirror", "root", "target", "refreshEvery"} { // which begin what Check says
		if strings.HasPrefix(err.Error(), name+" ") {
			at = at.Child(name)
			break
		}
	}
	from := ""
	if strings.HasPrefix(err.Error(), "root is not ") {
		from = "; have a root.json, such as 1.root.json, from whoever keeps the mirror, and not from the mirror alone"
	}
	c.invalid(at, "%s", line(err.Error(), maxProblem-len(from))+from)
}

// trustRootName checks a reference to a TrustRoot.
func (c *checker) trustRootName(at *field.Path, name string) {
	switch {
	case name == "":
	case len(name) > maxObjectName:
		c.invalid(at, "%d bytes, at most %d: name a TrustRoot", len(name), maxObjectName)
	case len(validation.IsDNS1123Subdomain(name)) > 0:
		c.invalid(at, "%.80q is no name of an object: name a TrustRoot, for instance %s", name, DefaultTrustRoot)
	}
}

// extensions checks which of Fulcio's extensions are asked for.
func (c *checker) extensions(at *field.Path, wanted map[string]string) {
	if len(wanted) > maxExtensions {
		c.add(field.Invalid(at, len(wanted), "at most 32: Fulcio has no more"))
		return
	}
	if c.fulcio == nil && len(wanted) > 0 {
		c.fulcio = verify.ExtensionNames()
	}
	for name, value := range inOrder(wanted) {
		if c.full() {
			return
		}
		key := at.Key(line(name, maxFieldName))
		switch {
		case name == "issuer":
			c.invalid(key, "write it as the identity's issuer")
		case slices.Contains(c.fulcio, name):
			c.badLength(key, value, maxSubject, "write the value as the certificate has it, or leave the extension out")
		default:
			c.invalid(key, "%s", noExtension(name, c.fulcio))
		}
	}
}

// noExtension says which extensions there are, or which one was meant.
func noExtension(name string, known []string) string {
	if near, distance := nearest(name, known); near != "" && distance <= len(name)/3 {
		return "Fulcio has no such extension: did you mean " + near + "?"
	}
	return "Fulcio has no such extension; it has " + strings.Join(known, ", ")
}
