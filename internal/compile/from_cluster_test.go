package compile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pratique-dev/pratique/pkg/policy"
)

// written returns a policy with the status that it gets where its Secret holds the key, of a generation.
func written(t testing.TB, text, pem string, generation, observed int64) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(toJSON(t, text)); err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(observed)
	raw, err := essence(u)
	if err != nil {
		t.Fatal(err)
	}
	namespace := u.GetNamespace()
	if namespace == "" {
		namespace = "pratique-system"
	}
	s := &shelf{entries: map[source]string{{kindSecret, namespace, "cosign-pub", "cosign.pub"}: pem}}
	p, r := Compiler{Materials: s, Namespace: "pratique-system"}.compileRaw(t.Context(), raw, keyOf(u))
	u, _, err = withStatus(u, p, r, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(generation)
	return u
}

func cluster(t testing.TB, mayReadSecrets, mayReadNamespaces bool, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "payments", Labels: map[string]string{"env": "production"}}}
	forbidden := func(resource, name string) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: resource}, name, errors.New("not you"))
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(ns).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			switch obj.(type) {
			case *corev1.Secret:
				if !mayReadSecrets {
					return forbidden("secrets", k.Name)
				}
			case *metav1.PartialObjectMetadata:
				if !mayReadNamespaces {
					return forbidden("namespaces", k.Name)
				}
			}
			return c.Get(ctx, k, obj, opts...)
		},
	}).Build()
}

func secretIn(namespace, pem string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "cosign-pub"}, Data: map[string][]byte{"cosign.pub": []byte(pem)}}
}

func TestFromClusterTakesKeysFromStatuses(t *testing.T) {
	t.Parallel()
	pem, other := newKey(t), newKey(t)
	for _, tt := range []struct {
		name       string
		policy     *unstructured.Unstructured
		secret     string // what the Secret holds now
		mayRead    bool
		unresolved string
		note       string
		key        string // which key is found
	}{
		{"from the status, without access to Secrets", written(t, namespaced(bySecret), pem, 3, 3), pem, false, "", "", pem},
		{"from the status, before the Secret", written(t, namespaced(bySecret), pem, 3, 3), other, true, "", "", pem},
		{"two keys", written(t, namespaced(bySecret), pem+other, 3, 3), pem, false, "", "", pem + other},
		{"a stale status, from the Secret", written(t, namespaced(bySecret), pem, 4, 3), other, true, "", "status is stale (of generation 3, the policy is at 4)", other},
		{"a stale status, without access to Secrets", written(t, namespaced(bySecret), pem, 4, 3), other, false, "Secret payments/cosign-pub: reading it is forbidden", "status is stale", ""},
		{"no status", written(t, namespaced(bySecret), pem, 1, 0), other, true, "", "no status yet", other},
		{"a status without keys", written(t, namespaced(bySecret), "nonsense", 1, 1), other, true, "", "could not read its keys again: Secret payments/cosign-pub", other},
		{"a status without keys, without access", written(t, namespaced(bySecret), "nonsense", 1, 1), other, false, "forbidden", "could not read", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := ClusterQuery{Reader: cluster(t, tt.mayRead, false, tt.policy, secretIn("payments", tt.secret)), Namespace: "payments", InstallNamespace: "pratique-system"}
			got, err := FromCluster(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			p := only(t, got.Set.Namespaced)
			if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			if tt.unresolved != "" {
				if len(got.Unresolved) != 1 || !strings.Contains(got.Unresolved[0].String(), tt.unresolved) || !refuses(t, p, "registry.example.com/app") {
					t.Errorf("unresolved %v, want %q", got.Unresolved, tt.unresolved)
				}
				return
			}
			if len(got.Unresolved) != 0 || p.Unusable != "" {
				t.Fatalf("unresolved %v, %s", got.Unresolved, p.Unusable)
			}
			var keys strings.Builder
			for _, k := range p.Questions()[0].Authority().Keys() {
				keys.Write(k.PEM())
			}
			if keys.String() != tt.key {
				t.Errorf("the wrong keys:\n%s\nwant\n%s", keys.String(), tt.key)
			}
		})
	}
}

func TestFromClusterSelectsNamespaces(t *testing.T) {
	t.Parallel()
	selecting := func(name, env string) *unstructured.Unstructured {
		return written(t, named(clusterWide("namespaceSelector: {matchLabels: {env: "+env+"}}\n"+allowAll), name), "", 1, 1)
	}
	objects := []client.Object{
		selecting("of-production", "production"), selecting("of-dev", "dev"), written(t, named(clusterWide(bySecret), "all"), newKey(t), 1, 1),
		written(t, namespaced(allowAll), "", 1, 1), written(t, inNamespace(namespaced(allowAll), "dev"), "", 1, 1),
	}
	q := ClusterQuery{Reader: cluster(t, false, true, objects...), Namespace: "payments", InstallNamespace: "pratique-system", Unmatched: policy.UnmatchedAllow}
	got, err := FromCluster(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"all", "of-production", "payments/production"}, names(got.Set.All())); diff != "" {
		t.Error(diff)
	}
	if len(got.Unresolved) != 0 || len(got.Notes) != 0 || got.Set.Unmatched != policy.UnmatchedAllow {
		t.Errorf("%v, %v", got.Unresolved, got.Notes)
	}
	q.Reader = cluster(t, false, false, objects...)
	if _, err := FromCluster(t.Context(), q); !errors.Is(err, ErrNamespaceUnknown) {
		t.Errorf("a namespace that can't be read: %v", err)
	}
	q.Reader = cluster(t, false, true, objects...)
	q.Namespace = "nowhere"
	if _, err := FromCluster(t.Context(), q); !errors.Is(err, ErrNamespaceUnknown) {
		t.Errorf("a namespace that isn't there: %v", err)
	}
}

// What a cluster's own webhook would refuse to use, the CLI doesn't use either.
func TestFromClusterSeesUnknownFields(t *testing.T) {
	t.Parallel()
	u := written(t, namespaced(strings.Replace(signedBy(newKey(t)), "by: [release]", "by: [release], atleast: 2", 1)), "", 1, 1)
	got, err := FromCluster(t.Context(), ClusterQuery{Reader: cluster(t, false, false, u), Namespace: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	if p := only(t, got.Set.Namespaced); !strings.Contains(p.Unusable, "atleast") {
		t.Errorf("used: %+v", p)
	}
}

func TestFromClusterWithoutTheInstallsNamespace(t *testing.T) {
	t.Parallel()
	u := written(t, clusterWide(bySecret), newKey(t), 1, 1)
	got, err := FromCluster(t.Context(), ClusterQuery{Reader: cluster(t, true, true, u), Namespace: "payments"})
	if err != nil || len(got.Unresolved) != 0 {
		t.Errorf("with keys in the status: %v, %v", got.Unresolved, err)
	}
	u.SetGeneration(2)
	got, err = FromCluster(t.Context(), ClusterQuery{Reader: cluster(t, true, true, u), Namespace: "payments"})
	if err != nil || len(got.Unresolved) != 1 || !strings.Contains(got.Unresolved[0].Problem, "the install's namespace") {
		t.Errorf("without: %v, %v", got.Unresolved, err)
	}
}

func TestFromClusterThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	away := errors.New("connection refused")
	r := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return away },
	}).Build()
	if _, err := FromCluster(t.Context(), ClusterQuery{Reader: r, Namespace: "payments"}); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}

func TestFromClusterKnowsNoSuchNamespace(t *testing.T) {
	t.Parallel()
	ask := func(namespace string, mayReadNamespaces bool) error {
		_, err := FromCluster(t.Context(), ClusterQuery{Reader: cluster(t, true, mayReadNamespaces), Namespace: namespace, InstallNamespace: "pratique-system"})
		return err
	}
	if err := ask("nosuchns", true); err == nil || !strings.Contains(err.Error(), "there is no namespace nosuchns in the cluster") {
		t.Errorf("a namespace that isn't there: %v", err)
	}
	if err := ask("payments", true); err != nil {
		t.Errorf("one without policies: %v", err)
	}
	if err := ask("nosuchns", false); err != nil {
		t.Errorf("who may not look can't be told: %v", err)
	}
}
