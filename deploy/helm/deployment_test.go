package helm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
)

// TestTheWebhookKnowsItsFlags looks for each flag where cmd/webhook binds them: one that it doesn't know would end it
// at every start.
func TestTheWebhookKnowsItsFlags(t *testing.T) {
	t.Parallel()
	bound, err := os.ReadFile(filepath.Join("..", "..", "cmd", "webhook", "config.go"))
	if err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"as it comes": nil, "everything": everything(t)} {
		for _, flag := range only[*appsv1.Deployment](t, decode(t, template(t, args...))).Spec.Template.Spec.Containers[0].Args {
			flag, _, _ = strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			if !strings.Contains(string(bound), ", \""+flag+"\", ") {
				t.Errorf("%s: the webhook has no flag --%s", name, flag)
			}
		}
	}
}

// TestThePodsAreRestricted holds them to the restricted Pod security standard and a little more.
func TestThePodsAreRestricted(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{"as it comes": nil, "everything": everything(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			restricted(t, only[*appsv1.Deployment](t, decode(t, template(t, args...))).Spec.Template.Spec)
		})
	}
}

func restricted(t *testing.T, pod corev1.PodSpec) {
	t.Helper()
	if s := pod.SecurityContext; s == nil || !*s.RunAsNonRoot || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("Pod: %+v", s)
	}
	if pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Error("the Pod uses a namespace of its node")
	}
	for _, volume := range pod.Volumes {
		if volume.Secret != nil || volume.ConfigMap != nil {
			continue
		}
		if dir := volume.EmptyDir; dir == nil || dir.Medium != corev1.StorageMediumMemory || dir.SizeLimit.Value() > 1<<20 {
			t.Errorf("volume %s is more than a little memory: %+v", volume.Name, volume)
		}
	}
	for _, container := range slices.Concat(pod.InitContainers, pod.Containers) {
		s := container.SecurityContext
		if s == nil || *s.AllowPrivilegeEscalation || *s.Privileged || !*s.ReadOnlyRootFilesystem || !*s.RunAsNonRoot {
			t.Errorf("container %s: %+v", container.Name, s)
		}
		want := &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
		if diff := cmp.Diff(want, s.Capabilities); diff != "" {
			t.Errorf("container %s: capabilities (-want +rendered):\n%s", container.Name, diff)
		}
	}
}

func TestTheWebhookStaysUp(t *testing.T) {
	t.Parallel()
	objects := decode(t, template(t))
	deployment := only[*appsv1.Deployment](t, objects)
	pod := deployment.Spec.Template.Spec
	t.Run("three replicas, none missing while they are replaced", func(t *testing.T) {
		if *deployment.Spec.Replicas != 3 || deployment.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%d replicas, %+v", *deployment.Spec.Replicas, deployment.Spec.Strategy)
		}
	})
	t.Run("a drain takes one at a time and never waits forever", func(t *testing.T) {
		budget := only[*policyv1.PodDisruptionBudget](t, objects).Spec
		if budget.MinAvailable != nil || budget.MaxUnavailable.IntValue() != 1 || *budget.UnhealthyPodEvictionPolicy != policyv1.AlwaysAllow {
			t.Errorf("%+v", budget)
		}
		if diff := cmp.Diff(deployment.Spec.Selector, budget.Selector); diff != "" {
			t.Errorf("it is about other Pods (-Deployment +budget):\n%s", diff)
		}
	})
	t.Run("spread where there is where to, one node being enough", func(t *testing.T) {
		if len(pod.TopologySpreadConstraints) != 2 {
			t.Errorf("%+v", pod.TopologySpreadConstraints)
		}
		for _, c := range pod.TopologySpreadConstraints {
			if c.WhenUnsatisfiable != corev1.ScheduleAnyway {
				t.Errorf("%+v", c)
			}
			if diff := cmp.Diff(deployment.Spec.Selector, c.LabelSelector); diff != "" {
				t.Errorf("%s spreads other Pods (-Deployment +constraint):\n%s", c.TopologyKey, diff)
			}
		}
	})
	t.Run("memory bounded, CPU not", func(t *testing.T) {
		resources := pod.Containers[0].Resources
		if resources.Limits.Memory().IsZero() || !resources.Limits.Cpu().IsZero() || resources.Requests.Cpu().IsZero() || resources.Requests.Memory().IsZero() {
			t.Errorf("%+v", resources)
		}
	})
	t.Run("three replicas and the one that replaces them fit a node of two cores", func(t *testing.T) {
		requests := pod.Containers[0].Resources.Requests
		most := int64(*deployment.Spec.Replicas) + int64(deployment.Spec.Strategy.RollingUpdate.MaxSurge.IntValue())
		if cpu, memory := requests.Cpu().MilliValue()*most, requests.Memory().Value()*most; cpu > 500 || memory > 1<<30 {
			t.Errorf("%d of them ask for %d millicores and %d bytes: a quarter of such a node is little enough beside what it is for", most, cpu, memory)
		}
	})
	t.Run("only readiness asks for more than the process", func(t *testing.T) {
		container := pod.Containers[0]
		for name, probe := range map[string]*corev1.Probe{"/healthz startup": container.StartupProbe, "/readyz readiness": container.ReadinessProbe, "/healthz liveness": container.LivenessProbe} {
			path, _, _ := strings.Cut(name, " ")
			port := slices.IndexFunc(container.Ports, func(p corev1.ContainerPort) bool { return probe != nil && p.Name == probe.HTTPGet.Port.StrVal })
			if port < 0 || container.Ports[port].ContainerPort != 8081 || probe.HTTPGet.Path != path {
				t.Errorf("%s: %+v", name, probe)
			}
		}
	})
	t.Run("the Service leads to the webhook's port", func(t *testing.T) {
		port := only[*corev1.Service](t, objects).Spec.Ports[0]
		if port.Port != 443 || !slices.ContainsFunc(pod.Containers[0].Ports, func(p corev1.ContainerPort) bool {
			return p.Name == port.TargetPort.StrVal && p.ContainerPort == 9443
		}) {
			t.Errorf("%+v", port)
		}
	})
	t.Run("an upgrade leaves the certificate and its CA alone", func(t *testing.T) {
		if secret := only[*corev1.Secret](t, objects); len(secret.Data) != 0 || len(secret.StringData) != 0 {
			t.Error("the chart writes over the Secret that the webhook fills")
		}
		for _, w := range rendered(t) {
			if w.ClientConfig.CABundle != nil {
				t.Errorf("the chart writes over the caBundle that the webhook sets in %s", w.Name)
			}
		}
	})
	t.Run("the certificate is read where there is room to write it", func(t *testing.T) {
		mount := pod.Containers[0].VolumeMounts[0]
		if mount.ReadOnly || mount.Name != pod.Volumes[0].Name || !slices.Contains(pod.Containers[0].Args, "--cert-dir="+mount.MountPath) {
			t.Errorf("%+v", mount)
		}
	})
}
