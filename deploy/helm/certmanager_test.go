package helm

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// issuer and certificate are what the chart uses of cert-manager.io/v1, as cert-manager's reference has them. There is
// no cert-manager here to ask: these tests are about what is rendered.
type (
	issuer struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			SelfSigned *struct{} `json:"selfSigned"`
			CA         *struct {
				SecretName string `json:"secretName"`
			} `json:"ca"`
		} `json:"spec"`
	}
	issuerRef struct {
		Group string `json:"group"`
		Kind  string `json:"kind"`
		Name  string `json:"name"`
	}
	cert struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct {
			SecretName  string          `json:"secretName"`
			CommonName  string          `json:"commonName"`
			DNSNames    []string        `json:"dnsNames"`
			IsCA        bool            `json:"isCA"`
			Duration    metav1.Duration `json:"duration"`
			RenewBefore metav1.Duration `json:"renewBefore"`
			Usages      []string        `json:"usages"`
			PrivateKey  struct {
				Algorithm      string `json:"algorithm"`
				Size           int    `json:"size"`
				RotationPolicy string `json:"rotationPolicy"`
			} `json:"privateKey"`
			IssuerRef issuerRef `json:"issuerRef"`
		} `json:"spec"`
	}
)

// decodeCertManager reads an Issuer or a Certificate strictly, and returns it untyped.
func decodeCertManager(t *testing.T, document string) client.Object {
	t.Helper()
	var into any = &issuer{}
	if strings.Contains(document, "\nkind: Certificate\n") {
		into = &cert{}
	}
	if err := yaml.UnmarshalStrict([]byte(document), into); err != nil {
		t.Fatalf("%v\n%s", err, document)
	}
	object := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
		t.Fatal(err)
	}
	return object
}

// certManagers returns the rendered Issuers and Certificates by their names.
func certManagers(t *testing.T, args ...string) (map[string]issuer, map[string]cert) {
	t.Helper()
	issuers, certs := map[string]issuer{}, map[string]cert{}
	for _, document := range template(t, args...) {
		switch {
		case !strings.Contains(document, "\napiVersion: cert-manager.io/v1\n"):
		case strings.Contains(document, "\nkind: Issuer\n"):
			var i issuer
			if err := yaml.UnmarshalStrict([]byte(document), &i); err != nil {
				t.Fatal(err)
			}
			issuers[i.Name] = i
		default:
			var c cert
			if err := yaml.UnmarshalStrict([]byte(document), &c); err != nil {
				t.Fatal(err)
			}
			certs[c.Name] = c
		}
	}
	return issuers, certs
}

func TestCertManagerIssuesTheCertificate(t *testing.T) {
	t.Parallel()
	args := values(t, "certManager: {enabled: true}")
	objects := decode(t, template(t, args...))
	issuers, certs := certManagers(t, args...)
	service := only[*corev1.Service](t, objects)
	leaf, ca := certs["pratique-webhook-tls"], certs["pratique-webhook-ca"]

	t.Run("for the names by which the API server calls", func(t *testing.T) {
		host := service.Name + "." + service.Namespace + ".svc"
		if diff := cmp.Diff([]string{host, host + ".cluster.local"}, leaf.Spec.DNSNames); diff != "" || leaf.Namespace != service.Namespace {
			t.Errorf("in %s (-want +rendered):\n%s", leaf.Namespace, diff)
		}
		if leaf.Spec.Duration.Duration != 90*24*time.Hour || leaf.Spec.RenewBefore.Duration != 30*24*time.Hour || leaf.Spec.IsCA {
			t.Errorf("%+v", leaf.Spec)
		}
	})
	t.Run("under a CA that outlives it, so that a renewal changes no caBundle", func(t *testing.T) {
		by := issuers[leaf.Spec.IssuerRef.Name]
		if leaf.Spec.IssuerRef.Kind != "Issuer" || by.Spec.CA == nil || by.Spec.CA.SecretName != ca.Spec.SecretName || !ca.Spec.IsCA || ca.Spec.Duration.Duration < 9*365*24*time.Hour {
			t.Errorf("the leaf is issued by %+v, with the CA %+v", by, ca.Spec)
		}
		if self := issuers[ca.Spec.IssuerRef.Name]; self.Spec.SelfSigned == nil || len(issuers) != 2 || len(certs) != 2 {
			t.Errorf("the CA is issued by %+v", self)
		}
	})
	t.Run("into the Secret that is served from, which the chart itself leaves alone", func(t *testing.T) {
		pod := only[*appsv1.Deployment](t, objects).Spec.Template.Spec
		volume, mount := pod.Volumes[0], pod.Containers[0].VolumeMounts[0]
		if volume.Secret == nil || volume.Secret.SecretName != leaf.Spec.SecretName || volume.Secret.Optional != nil || mount.Name != volume.Name || !mount.ReadOnly || mount.SubPath != "" {
			t.Errorf("%+v at %+v", volume, mount)
		}
		if secrets := all[*corev1.Secret](objects); len(secrets) != 0 {
			t.Errorf("the chart makes the Secret %s", secrets[0].Name)
		}
	})
	t.Run("and its CA goes into every webhook object", func(t *testing.T) {
		for _, object := range objects {
			want := ""
			if strings.HasSuffix(object.GetObjectKind().GroupVersionKind().Kind, "WebhookConfiguration") {
				want = leaf.Namespace + "/" + leaf.Name
			}
			if got := object.GetAnnotations()["cert-manager.io/inject-ca-from"]; got != want {
				t.Errorf("%T %s has inject-ca-from %q, want %q", object, object.GetName(), got, want)
			}
		}
	})
}

func TestCertManagerMayBeToldWhoIssues(t *testing.T) {
	t.Parallel()
	cases := []struct {
		values string
		want   issuerRef
	}{
		{"{name: corp}", issuerRef{"cert-manager.io", "Issuer", "corp"}},
		{"{name: corp, kind: ClusterIssuer}", issuerRef{"cert-manager.io", "ClusterIssuer", "corp"}},
		{"{name: corp, kind: AWSPCAIssuer, group: awspca.cert-manager.io}", issuerRef{"awspca.cert-manager.io", "AWSPCAIssuer", "corp"}},
	}
	for _, c := range cases {
		t.Run(c.values, func(t *testing.T) {
			t.Parallel()
			issuers, certs := certManagers(t, values(t, "certManager: {enabled: true, issuerRef: "+c.values+"}")...)
			if len(issuers) != 0 || len(certs) != 1 {
				t.Errorf("%d Issuers and %d Certificates", len(issuers), len(certs))
			}
			if diff := cmp.Diff(c.want, certs["pratique-webhook-tls"].Spec.IssuerRef); diff != "" {
				t.Errorf("(-want +rendered):\n%s", diff)
			}
		})
	}
}

func TestWithoutCertManagerNothingIsOfIt(t *testing.T) {
	t.Parallel()
	for rendering, args := range renderings(t) {
		t.Run(rendering, func(t *testing.T) {
			t.Parallel()
			for _, document := range template(t, args...) {
				if strings.Contains(document, "cert-manager.io") {
					t.Errorf("rendered:\n%s", document)
				}
			}
		})
	}
}
