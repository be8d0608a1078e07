package compile

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pratique-dev/pratique/internal/trust"
	"github.com/pratique-dev/pratique/internal/trust/trusttest"
	"github.com/pratique-dev/pratique/pkg/policy"
	"github.com/pratique-dev/pratique/pkg/verify"
	"github.com/pratique-dev/pratique/pkg/verify/verifytest"
)

func configMapDocument(namespace, text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sigstore" + namespace + "}\ndata: {trusted_root.json: " + quoted(text) + "}\n"
}

func TestFilesTakeTrustRoots(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	text := s.TrustedRoot(t)
	r := trusttest.New(t, text)
	registry, image := signedBySomeone(t, s, []verifytest.Log{verifytest.RekorV1})
	ask := FetchMirror(trust.Options{Transport: r.Transport()})
	for _, tt := range []struct {
		name   string
		texts  []string
		mirror func(context.Context, trust.MirrorConfig) trust.State
	}{
		{"a text", []string{namespaced(bySomeone("corp", "")), inlineRoot("corp", text)}, nil},
		{"in one file", []string{namespaced(bySomeone("corp", "")) + "---\n" + inlineRoot("corp", text)}, nil},
		{"in a list", []string{namespaced(bySomeone("corp", "")), "apiVersion: pratique.dev/v1alpha1\nkind: TrustRootList\nitems:\n- " + strings.TrimSpace(strings.ReplaceAll(inlineRoot("corp", text), "\n", "\n  ")) + "\n"}, nil},
		{"a ConfigMap", []string{namespaced(bySomeone("corp", "")), trustRoot("corp", strings.Replace(rootInSecret, "secretRef", "configMapRef", 1)), configMapDocument(", namespace: pratique-system", string(text))}, nil},
		{"a mirror", []string{namespaced(bySomeone("corp", "")), trustRoot("corp", fromMirror(r, ""))}, ask},
		{"two united", []string{namespaced(bySomeone("corp", "")), inlineRoot("corp", trust.PublicGood(), text)}, nil},
		{"in place of the public good one", []string{namespaced(bySomeone(DefaultTrustRoot, "")), inlineRoot(DefaultTrustRoot, text)}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := mustLoad(t, tt.texts...)
			b.Mirror = tt.mirror
			set, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny)
			p := only(t, set.Namespaced)
			if len(unresolved) > 0 || p.Unusable != "" {
				t.Fatalf("unresolved %v; %s", unresolved, p.Unusable)
			}
			if got := outcome(t, p, registry, image); got != policy.Satisfied {
				t.Errorf("%v", got)
			}
		})
	}
	set, unresolved := mustLoad(t, namespaced(bySomeone(DefaultTrustRoot, ""))).Set(t.Context(), "payments", policy.UnmatchedDeny)
	if p := only(t, set.Namespaced); len(unresolved) > 0 || p.Unusable != "" || outcome(t, p, registry, image) != policy.Violated {
		t.Errorf("the public good root alone: %v; %s", unresolved, p.Unusable)
	}
}

func TestTrustRootsThatFilesDoNotResolveAreNamed(t *testing.T) {
	t.Parallel()
	text := verifytest.NewSigstore(t).TrustedRoot(t)
	r := trusttest.New(t, text)
	r.Down(true)
	ask := FetchMirror(trust.Options{Transport: r.Transport()})
	const by = "ImagePolicy payments/production: authority ci: TrustRoot corp: "
	for _, tt := range []struct {
		name, root, want string
		mirror           func(context.Context, trust.MirrorConfig) trust.State
	}{
		{"no TrustRoot", "", by + "not among the files", nil},
		{"no Secret", trustRoot("corp", rootInSecret), by + "sources[0] (secretRef): Secret sigstore: not among the files", nil},
		{"no Secret, beside a text", trustRoot("corp", "sources: [{public: {}}, {secretRef: {name: sigstore, key: trusted_root.json}}]"), by + "sources[1] (secretRef): Secret sigstore: not among the files", nil},
		{"a ConfigMap of something else", trustRoot("corp", strings.Replace(rootInSecret, "secretRef", "configMapRef", 1)) + "---\n" + configMapDocument("", "{}"), by + "sources[0] (configMapRef): ConfigMap sigstore, entry trusted_root.json: the trusted root has no mediaType", nil},
		{"a mirror that isn't asked", trustRoot("corp", fromMirror(r, "")), by + "sources[0] (tuf): mirrors are not asked here", nil},
		{"a mirror that is down", trustRoot("corp", fromMirror(r, "")), by + "sources[0] (tuf): mirror https://tuf.corp.example could not be read", ask},
		{"a mirror that is down, beside a text", trustRoot("corp", fromMirror(r, "- data: "+quoted(string(text)))), by + "sources[0] (tuf): mirror https://tuf.corp.example could not be read", ask},
		{"a mirror by plain http that isn't named", strings.Replace(trustRoot("corp", fromMirror(r, "")), "https://", "http://", 1), by + "sources[0] (tuf): mirror \"http://tuf.corp.example\" is asked by plain http", ask},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := mustLoad(t, namespaced(bySomeone("corp", "")), tt.root)
			b.Mirror = tt.mirror
			set, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny)
			if len(unresolved) != 1 || !strings.HasPrefix(unresolved[0].String(), tt.want) {
				t.Errorf("unresolved %v, want %s", unresolved, tt.want)
			}
			if p := only(t, set.All()); !refuses(t, p, "registry.example.com/app") {
				t.Error("and yet it lets an image in")
			}
		})
	}
}

func TestTrustRootsOfFilesAreChecked(t *testing.T) {
	t.Parallel()
	good := trustRoot("corp", "sources: [{public: {}}]")
	for _, tt := range []struct{ name, text, want string }{
		{"a typo", trustRoot("corp", "sources: [{publik: {}}]"), `a.yaml, document 1: unknown field "spec.sources[0].publik": did you mean public?`},
		{"a typo in metadata", replaceOnce(good, "generation:", "generaton:"), `unknown field "metadata.generaton"`},
		{"no JSON", trustRoot("corp", "sources: [{data: x}]"), "a.yaml, document 1: TrustRoot corp: spec.sources[0].data: Invalid value: the trusted root can't be read"},
		{"twice", good + "---\n" + replaceOnce(good, "name: corp", "name: corp, namespace: x"), "TrustRoot corp is there twice"},
		{"without a name", replaceOnce(good, "name: corp, ", ""), "metadata.name is missing"},
		{"more than 64", manyRoots(MaxTrustRoots + 1), "over the bound of 64 TrustRoots"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := load(t, tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant an error with %s", err, tt.want)
			}
		})
	}
}

func manyRoots(n int) string {
	return strings.ReplaceAll(items(n, "apiVersion: pratique.dev/v1alpha1@kind: TrustRoot@metadata: {name: r%d}@spec: {sources: [{public: {}}]}@---"), "@", "\n")
}

// publishedRoot returns a TrustRoot with the status that it gets where its source holds a text, of a generation.
func publishedRoot(t testing.TB, text, holds string, generation, observed int64) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(toJSON(t, text)); err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(observed)
	reading := rootReading{kind: sourceSecret, err: errors.New("away")}
	if holds != "" {
		reading = rootReading{kind: sourceSecret, text: []byte(holds), digest: trust.Digest([]byte(holds))}
	}
	made := unite([]rootReading{reading}, verify.DefaultThresholds())
	u, _, _, err := withRootStatus(u, rootReportOf([]rootReading{reading}, made.trust, made.err), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	u.SetGeneration(generation)
	return u
}

func TestFromClusterTakesTrustRootsFromStatuses(t *testing.T) {
	t.Parallel()
	s := verifytest.NewSigstore(t)
	text, other := string(s.TrustedRoot(t)), string(verifytest.NewSigstore(t).TrustedRoot(t))
	registry, image := signedBySomeone(t, s, []verifytest.Log{verifytest.RekorV1})
	byRoot := written(t, namespaced(bySomeone("corp", "")), "", 1, 1)
	corp := trustRoot("corp", rootInSecret)
	unwritten := publishedRoot(t, corp, text, 1, 0)
	delete(unwritten.Object, "status")
	for _, tt := range []struct {
		name       string
		root       *unstructured.Unstructured
		secret     string // what the Secret holds now
		mayRead    bool
		unresolved string
		note       string
	}{
		{"from the status, without access to Secrets", publishedRoot(t, corp, text, 3, 3), other, false, "", ""},
		{"from the status, before the Secret", publishedRoot(t, corp, text, 3, 3), other, true, "", ""},
		{"a stale status, from the Secret", publishedRoot(t, corp, other, 4, 3), text, true, "", "TrustRoot corp: its status is stale (of generation 3, the object is at 4)"},
		{"a stale status, without access to Secrets", publishedRoot(t, corp, text, 4, 3), text, false, "sources[0] (secretRef): Secret pratique-system/sigstore: reading it is forbidden", "stale"},
		{"no status", unwritten, text, true, "", "TrustRoot corp: no status yet: is the webhook running?"},
		{"one that the cluster can't use", publishedRoot(t, corp, "", 1, 1), text, true, "TrustRoot corp: the cluster can't use it: no source can be used: sources[0] (secretRef): away", ""},
		{"none", nil, text, true, "authority ci: TrustRoot corp: not found", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects := []client.Object{byRoot.DeepCopy(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "pratique-system", Name: "sigstore"}, Data: map[string][]byte{"trusted_root.json": []byte(tt.secret)}}}
			if tt.root != nil {
				objects = append(objects, tt.root.DeepCopy())
			}
			got, err := FromCluster(t.Context(), ClusterQuery{Reader: cluster(t, tt.mayRead, false, objects...), Namespace: "payments", InstallNamespace: "pratique-system"})
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
			if got := outcome(t, p, registry, image); got != policy.Satisfied {
				t.Errorf("%v", got)
			}
		})
	}
}

// What may not be read is not taken for what isn't there: sigstore-public may be another root in this cluster.
func TestFromClusterThatMayNotReadTrustRoots(t *testing.T) {
	t.Parallel()
	inner := cluster(t, true, true, written(t, namespaced(bySomeone(DefaultTrustRoot, "")), "", 1, 1))
	withWatch, ok := inner.(client.WithWatch)
	if !ok {
		t.Fatalf("%T", inner)
	}
	r := interceptor.NewClient(withWatch, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			if obj.GetObjectKind().GroupVersionKind().Kind == KindTrustRoot {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "trustroots"}, k.Name, errors.New("not you"))
			}
			return c.Get(ctx, k, obj, opts...)
		},
	})
	got, err := FromCluster(t.Context(), ClusterQuery{Reader: r, Namespace: "payments"})
	if err != nil || len(got.Unresolved) != 1 || !strings.Contains(got.Unresolved[0].Problem, "forbidden") {
		t.Errorf("%v, %v", got.Unresolved, err)
	}
	got, err = FromCluster(t.Context(), ClusterQuery{Reader: inner, Namespace: "payments"})
	if err != nil || len(got.Unresolved) != 0 || only(t, got.Set.Namespaced).Unusable != "" {
		t.Errorf("without an object: %v, %v", got.Unresolved, err)
	}
}
