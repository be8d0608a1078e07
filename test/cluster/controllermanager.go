package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rootCAConfigMap is what the controller manager puts into every namespace;
// once the first has it, its controllers are at work.
const rootCAConfigMap = "kube-root-ca.crt"

// startControllerManager starts kube-controller-manager with every default
// controller, each as the ServiceAccount it has in a real cluster. It serves
// nothing itself.
func (c *Cluster) startControllerManager(ctx context.Context) error {
	kubeconfig := c.file("controller-manager.kubeconfig")
	config, err := c.UserConfig("system:kube-controller-manager")
	if err != nil {
		return err
	}
	if err := writeKubeconfig(kubeconfig, config); err != nil {
		return err
	}
	p, err := startProcess(controllerManagerProgram, c.log(controllerManagerProgram), c.program(controllerManagerProgram),
		"--kubeconfig="+kubeconfig,
		"--service-account-private-key-file="+c.file("sa.key"),
		"--root-ca-file="+c.file("ca.crt"),
		"--use-service-account-credentials",
		"--leader-elect=false",
		"--secure-port=0",
	)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.controllerManager = p
	c.mu.Unlock()
	return await(ctx, p, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ConfigMaps("default").Get(ctx, rootCAConfigMap, metav1.GetOptions{})
		return err
	})
}
