package compile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pratique-dev/pratique/pkg/policy"
)

func TestFilesHaveExceptions(t *testing.T) {
	t.Parallel()
	soon := excusing(day(time.Now().AddDate(0, 0, 10)))
	here := strings.Replace(exception("here", soon), ", namespace: payments", "", 1)
	old := strings.Replace(exception("old", soon), "name: old", "name: old, creationTimestamp: '"+time.Now().AddDate(0, 0, -30).UTC().Format(time.RFC3339)+"'", 1)
	ended := exception("ended", excusing("2001-01-31"))
	list := "apiVersion: pratique.dev/v1alpha1\nkind: ImageExceptionList\nitems:\n-\n" + indent(inNamespace(exception("listed", soon), "shop"), 2)
	before := time.Now()
	b := mustLoad(t, exception("own", soon)+"---\n"+here+"---\n"+old+"---\n"+ended, list)
	set, unresolved := b.Set(t.Context(), "payments", policy.UnmatchedDeny)
	if diff := cmp.Diff([]string{"payments/old", "payments/here", "payments/own"}, excepted(set.Exceptions)); diff != "" || len(unresolved) > 0 {
		t.Error(diff, unresolved)
	}
	if made := set.Exceptions[1].Created; made.Before(before) || made.After(time.Now()) {
		t.Errorf("without a creationTimestamp it was made %v", made)
	}
	if made := set.Exceptions[0].Created; time.Since(made) < 29*24*time.Hour {
		t.Errorf("with one it was made %v", made)
	}
	set, _ = b.Set(t.Context(), "shop", policy.UnmatchedDeny)
	if diff := cmp.Diff([]string{"shop/here", "shop/listed"}, excepted(set.Exceptions)); diff != "" {
		t.Error(diff)
	}
	for name, tt := range map[string]struct{ text, says string }{
		"one that is to last too long": {exception("xz", excusing(day(time.Now().AddDate(0, 0, 92)))), "ImageException payments/xz: spec.expires: Invalid value:"},
		"two of one name":              {exception("xz", soon) + "---\n" + exception("xz", soon), "ImageException payments/xz is there twice"},
		"a typo in metadata":           {strings.Replace(exception("xz", soon), "namespace:", "nmespace:", 1), `unknown field "metadata.nmespace"`},
		"no name":                      {strings.Replace(exception("xz", soon), "name: xz, ", "", 1), "metadata.name is missing"},
	} {
		if _, err := load(t, tt.text); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRow20_OneFileOfExceptionsIsBoundedAsANamespaceIs.
func TestRow20_OneFileOfExceptionsIsBoundedAsANamespaceIs(t *testing.T) {
	t.Parallel()
	var texts []string
	for i := range MaxExceptions + 1 {
		texts = append(texts, exception(fmt.Sprintf("e-%03d", i), excusing(day(time.Now().AddDate(0, 0, 10)))))
	}
	set, _ := mustLoad(t, strings.Join(texts, "---\n")).Set(t.Context(), "payments", policy.UnmatchedDeny)
	if got := excepted(set.Exceptions); len(got) != MaxExceptions || got[MaxExceptions-1] != fmt.Sprintf("payments/e-%03d", MaxExceptions-1) {
		t.Errorf("%d: %s", len(got), got)
	}
}

// TestRow20_AnExceptionOfAFileThatIsBeingDeletedExcusesNothing, as one has it that was read from a cluster.
func TestRow20_AnExceptionOfAFileThatIsBeingDeletedExcusesNothing(t *testing.T) {
	t.Parallel()
	text := exception("held", excusing(day(time.Now().AddDate(0, 0, 10))))
	for deleted, want := range map[string]int{"": 1, ", finalizers: [acme.example/keep], deletionTimestamp: '2026-01-01T00:00:00Z'": 0} {
		set, _ := mustLoad(t, replaceOnce(text, "namespace: payments", "namespace: payments"+deleted)).Set(t.Context(), "payments", policy.UnmatchedDeny)
		if len(set.Exceptions) != want {
			t.Errorf("%q: %s, want %d", deleted, excepted(set.Exceptions), want)
		}
	}
}

// storedException is an ImageException as an API server has it.
func storedException(t testing.TB, text string, made time.Time) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(toJSON(t, text)); err != nil {
		t.Fatal(err)
	}
	u.SetCreationTimestamp(metav1.NewTime(made))
	return u
}

func TestFromClusterHasExceptions(t *testing.T) {
	t.Parallel()
	soon := excusing(day(time.Now().AddDate(0, 0, 10)))
	held := storedException(t, exception("held", soon), time.Now().Add(-3*time.Hour))
	held.SetFinalizers([]string{"acme.example/keep"})
	held.SetDeletionTimestamp(&metav1.Time{Time: time.Now()})
	r := cluster(t, true, true, held,
		storedException(t, exception("young", soon), time.Now().Add(-time.Hour)),
		storedException(t, exception("older", soon), time.Now().Add(-2*time.Hour)),
		storedException(t, exception("ended", excusing("2001-01-31")), time.Now().Add(-time.Hour)),
		storedException(t, exception("broken", soon+"packages: [openssl]\n"), time.Now().Add(-time.Hour)),
		storedException(t, inNamespace(exception("theirs", soon), "shop"), time.Now().Add(-time.Hour)))
	answer, err := FromCluster(t.Context(), ClusterQuery{Reader: r, Namespace: "payments", InstallNamespace: "pratique-system"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"payments/older", "payments/young"}, excepted(answer.Set.Exceptions)); diff != "" {
		t.Error(diff)
	}
	if len(answer.Notes) != 2 || answer.Notes[0] != "ImageException payments/held: it excuses nothing: it is being deleted, and goes once its finalizers are removed" ||
		!strings.HasPrefix(answer.Notes[1], `ImageException payments/broken: it excuses nothing: unknown field "spec.packages"`) {
		t.Errorf("%q", answer.Notes)
	}
}

// TestRow20_WithoutTheRightToReadExceptionsNoneCounts: what somebody isn't shown makes their answer stricter, and they are told.
func TestRow20_WithoutTheRightToReadExceptionsNoneCounts(t *testing.T) {
	t.Parallel()
	kind := schema.GroupKind{Group: "pratique.dev", Kind: KindImageException}
	away := errors.New("away")
	for _, tt := range []struct {
		name  string
		err   error
		note  string
		fails bool
	}{
		{"forbidden", apierrors.NewForbidden(schema.GroupResource{Resource: "imageexceptions"}, "", errors.New("not you")), "may not be read, so that none of them counts here: listing ImageException objects: imageexceptions is forbidden", false},
		{"a cluster that has no such kind", &meta.NoKindMatchError{GroupKind: kind}, "", false},
		{"a cluster that has no such resource", apierrors.NewNotFound(schema.GroupResource{Resource: "imageexceptions"}, ""), "", false},
		{"a cluster that doesn't answer", away, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := cluster(t, true, true, written(t, namespaced(bySecret), newKey(t), 1, 1)).(client.WithWatch)
			r := interceptor.NewClient(all, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if list.GetObjectKind().GroupVersionKind().Kind == KindImageException+"List" {
					return tt.err
				}
				return c.List(ctx, list, opts...)
			}})
			answer, err := FromCluster(t.Context(), ClusterQuery{Reader: r, Namespace: "payments", InstallNamespace: "pratique-system"})
			if tt.fails {
				if !errors.Is(err, away) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || len(answer.Set.Exceptions) != 0 || len(answer.Set.Namespaced) != 1 || !strings.Contains(strings.Join(answer.Notes, "\n"), tt.note) || tt.note == "" && len(answer.Notes) > 0 {
				t.Errorf("%v, %q, %d", err, answer.Notes, len(answer.Set.Exceptions))
			}
		})
	}
}
