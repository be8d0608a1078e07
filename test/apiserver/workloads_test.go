package apiserver

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pratique-dev/pratique/test/evilregistry"
)

const templates = "workloads.pratique.dev"

// manifests are one object of each kind with a Pod template, in YAML, with an image.
func manifests(ns, name, image string) map[string]string {
	template := fmt.Sprintf("template: {metadata: {labels: {app: x}}, spec: {restartPolicy: %%s, containers: [{name: c0, image: %q}]}}", image)
	always, never := fmt.Sprintf(template, "Always"), fmt.Sprintf(template, "Never")
	object := func(api, kind, spec string) string {
		return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: {%s}\n", api, kind, name, ns, spec)
	}
	const selector = "selector: {matchLabels: {app: x}}, "
	return map[string]string{
		"deployment.apps":       object("apps/v1", "Deployment", "replicas: 0, "+selector+always),
		"statefulset.apps":      object("apps/v1", "StatefulSet", "replicas: 0, serviceName: x, "+selector+always),
		"daemonset.apps":        object("apps/v1", "DaemonSet", selector+always),
		"replicaset.apps":       object("apps/v1", "ReplicaSet", "replicas: 0, "+selector+always),
		"replicationcontroller": object("v1", "ReplicationController", "replicas: 0, selector: {app: x}, "+always),
		"job.batch":             object("batch/v1", "Job", "parallelism: 0, "+never),
		"cronjob.batch":         object("batch/v1", "CronJob", `schedule: "0 0 1 1 *", jobTemplate: {spec: {`+never+"}}"),
	}
}

func TestRow07_AWorkloadOfEveryKindIsRefusedInKubectlsWords(t *testing.T) {
	s := parallelScene(t, "workloads")
	s.policy(signedBy, pins)
	good, bad := s.signed("shop/api:v1"), s.unsigned("shop/miner:v1")
	for kind, text := range manifests(s.ns, "bad", bad.Context().Tag("v1").String()) {
		said, err := s.kubectl(text, "apply", "-f", "-")
		if err == nil || !strings.Contains(said, `admission webhook "`+templates+`" denied the request: 1 of 1 image refused`) || !strings.Contains(said, "NoTrustedSignature") {
			t.Errorf("%s: %v\n%s", kind, err, said)
		}
	}
	for kind, text := range manifests(s.ns, "good", good.Context().Tag("v1").String()) {
		if said, err := s.kubectl(text, "apply", "-f", "-"); err != nil {
			t.Errorf("%s: %v\n%s", kind, err, said)
		}
		said, err := s.kubectl("", "-n", s.ns, "get", kind, "good", "-o", "jsonpath={..image}")
		if err != nil || said != good.Context().Tag("v1").String() {
			t.Errorf("%s: its template has %s: %v", kind, said, err)
		}
	}
}

func TestRow07_AForgedOwnerExcusesNoPod(t *testing.T) {
	s := parallelScene(t, "row07")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/miner").String()
	s.replicaSet("owner", good)
	owner, err := s.kube.AppsV1().ReplicaSets(s.ns).Get(s.ctx, "owner", metav1.GetOptions{})
	s.want("getting the owner", err)
	forged := pod("forged", bad)
	yes := true
	forged.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner.Name, UID: owner.UID, Controller: &yes}}
	forged.Labels = map[string]string{"app": "owner"}
	s.refuses(forged, "NoTrustedSignature")
}

func TestRow08_APodThatSaysItIsAMirrorIsJudged(t *testing.T) {
	s := parallelScene(t, "row08")
	s.policy(signedBy)
	bad := s.unsigned("shop/miner").String()
	for _, annotations := range []map[string]string{
		{corev1.MirrorPodAnnotationKey: "x"},
		{corev1.MirrorPodAnnotationKey: "x", "kubernetes.io/config.source": "file", "kubernetes.io/config.hash": "x"},
	} {
		p := pod("mirror", bad)
		p.Annotations = annotations
		p.Spec.NodeName = "node" // or the API server itself refuses it
		s.refuses(p, "NoTrustedSignature")
	}
}

func TestRow10_AnImageHiddenInAScaleDownIsRefused(t *testing.T) {
	s := parallelScene(t, "row10")
	s.policy(signedBy)
	good, bad := s.signed("shop/api").String(), s.unsigned("shop/miner").String()
	s.deployment("api", good)
	s.scaleDeployment("api", 3)
	deployments := s.kube.AppsV1().Deployments(s.ns)
	patch := func(text string) error {
		_, err := deployments.Patch(s.ctx, "api", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		return err
	}
	s.wantRefusedBy(templates, patch(`{"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"c0","image":"`+bad+`"}]}}}}`), "container c0: "+bad, "NoTrustedSignature")
	s.want("scaling down alone", patch(`{"spec":{"replicas":2}}`))
}

func TestATemplateThatCanNotBeJudgedIsCreatedWithAWarning(t *testing.T) {
	s := parallelScene(t, "unjudged")
	s.policy(signedBy, pins)
	good := s.signed("shop/api:v1").Context().Tag("v1").String()
	s.reg.On(evilregistry.Match{}, evilregistry.Status(503, nil, ""))
	s.deployment("api", good)
	got := strings.Join(s.warnings.take(), "\n")
	if !strings.Contains(got, "container c0: not judged yet: RegistryUnavailable") {
		t.Errorf("warnings %q", got)
	}
	s.refuses(pod("api", good), "RegistryUnavailable")
}

func TestATemplateWithoutPullSecretsIsReadWithItsServiceAccounts(t *testing.T) {
	password := canary("workloads")
	s := parallelScene(t, "workloads-secret", evilregistry.WithTokenAuth(map[string]string{puller: password}, "private/**"))
	s.policy(signedBy)
	bad := s.unsigned("private/miner").String()
	s.deployment("early", bad) // no secret: it can't be read, which is a warning
	if got := strings.Join(s.warnings.take(), "\n"); !strings.Contains(got, "RegistryUnauthorized") {
		t.Errorf("warnings %q", got)
	}
	s.secret(dockerConfig("pull", s.reg.Host(), puller, password))
	_, err := s.kube.CoreV1().ServiceAccounts(s.ns).Create(s.ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "robot"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
	}, metav1.CreateOptions{})
	s.want("creating a ServiceAccount", err)
	text := strings.Replace(manifests(s.ns, "late", bad)["deployment.apps"], "spec: {restartPolicy", "spec: {serviceAccountName: robot, restartPolicy", 1)
	if said, err := s.kubectl(text, "apply", "-f", "-"); err == nil || !strings.Contains(said, "NoTrustedSignature") {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestWithTheWebhookAwayTemplatesAreCreated(t *testing.T) {
	s := alone(t, "workloads-away")
	s.policy(signedBy)
	bad := s.unsigned("shop/miner").String()
	s.want("stopping the webhook", s.bed.Webhook.Stop())
	s.deployment("api", bad) // early feedback is all that is lost
	s.scaleDeployment("api", 1)
	s.eventually("the Deployment's ReplicaSet", func() error {
		list, err := s.kube.AppsV1().ReplicaSets(s.ns).List(s.ctx, metav1.ListOptions{LabelSelector: "app=api"})
		if err == nil && len(list.Items) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	s.wantNoPod("")
	s.want("starting the webhook", s.restart())
	s.scaleDeployment("api", 2) // the controller waits long between its tries, but not when it is told something new
	s.eventually("an Event that the Pods are refused", func() error {
		events, err := s.kube.CoreV1().Events(s.ns).List(s.ctx, metav1.ListOptions{FieldSelector: "reason=FailedCreate"})
		if err != nil {
			return err
		}
		for _, e := range events.Items {
			if strings.Contains(e.Message, "NoTrustedSignature") {
				return nil
			}
		}
		return fmt.Errorf("%d Events, none of which says NoTrustedSignature", len(events.Items))
	})
}
