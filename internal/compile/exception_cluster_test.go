package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pratique-dev/pratique/api/v1alpha1"
	"github.com/pratique-dev/pratique/internal/compile"
	"github.com/pratique-dev/pratique/pkg/policy"
)

// exceptions reach etcd here as they do while the webhook is away: past /validate-policy, and by the schema alone.
func exceptions(t *testing.T, b *bench) {
	object := func(name, expires, more string) string {
		return "apiVersion: pratique.dev/v1alpha1\nkind: ImageException\nmetadata: {name: " + name + ", namespace: dev}\nspec: {owner: o, reason: r, expires: '" + expires +
			"', images: ['**'], ids: [CVE-2024-3094]" + more + "}\n"
	}
	b.apply(t, object("ages", "2126-01-01", "")+"---\n"+object("ended", "2020-01-01", "")+"---\n"+object("typo", "2126-01-01", ", severities: [low]"))
	wait := func(name, want string) *v1alpha1.ImageException {
		t.Helper()
		e := &v1alpha1.ImageException{}
		eventually(t, name+" "+want, func() error {
			e = &v1alpha1.ImageException{}
			if err := b.admin.Get(t.Context(), client.ObjectKey{Namespace: "dev", Name: name}, e); err != nil {
				return err
			}
			c := meta.FindStatusCondition(e.Status.Conditions, compile.ConditionReady)
			if c == nil || string(c.Status)+" "+c.Reason != want {
				return fmt.Errorf("%+v", e.Status)
			}
			return nil
		})
		return e
	}
	ages := wait("ages", "True "+compile.ReasonInForce)
	latest := ages.CreationTimestamp.Add(policy.MaxExceptionAge)
	if !ages.Status.Expires.Time.Equal(latest) {
		t.Errorf("it ends %v, want %v", ages.Status.Expires, latest)
	}
	wait("ended", "False "+compile.ReasonExpired)
	typo := wait("typo", "False "+compile.ReasonInvalidField)
	if c := typo.Status.Conditions[0]; !strings.Contains(c.Message, `it excuses nothing: unknown field "spec.severities"`) {
		t.Errorf("%+v", c)
	}
	set, err := b.store.Set(t.Context(), "dev")
	if err != nil || len(set.Exceptions) != 1 || set.Exceptions[0].Name.Name != "ages" || !set.Exceptions[0].Until.Equal(latest) {
		t.Errorf("%v: %+v", err, set.Exceptions)
	}
	answer, err := compile.FromCluster(t.Context(), compile.ClusterQuery{Reader: b.admin, Namespace: "dev", InstallNamespace: install})
	if err != nil || len(answer.Set.Exceptions) != 1 || !answer.Set.Exceptions[0].Until.Equal(latest) || !strings.Contains(strings.Join(answer.Notes, "\n"), "ImageException dev/typo: it excuses nothing") {
		t.Errorf("the CLI finds %+v, %q, %v", answer.Set.Exceptions, answer.Notes, err)
	}
	if err := b.admin.Delete(t.Context(), &v1alpha1.ImageException{ObjectMeta: metav1.ObjectMeta{Namespace: "dev", Name: "ages"}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is gone", func() error {
		if set, err := b.store.Set(t.Context(), "dev"); err != nil || len(set.Exceptions) != 0 {
			return fmt.Errorf("%v: %+v", err, set.Exceptions)
		}
		return nil
	})
}
