package cluster

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// UserConfig makes a client configuration of any user, by a client certificate
// that names the user and the groups. The API server adds the group
// system:authenticated. A ServiceAccount's is
//
//	c.UserConfig("system:serviceaccount:NAMESPACE:NAME", "system:serviceaccounts", "system:serviceaccounts:NAMESPACE")
//
// It has no client-side rate limit.
func (c *Cluster) UserConfig(user string, groups ...string) (*rest.Config, error) {
	pair, err := c.ca.client(time.Now(), user, groups)
	if err != nil {
		return nil, err
	}
	return &rest.Config{
		Host: "https://" + net.JoinHostPort(loopback, strconv.Itoa(c.port)),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   c.ca.pem,
			CertData: pair.cert,
			KeyData:  pair.key,
		},
		QPS: -1, // no limit
	}, nil
}

// Kubeconfig is the path of the administrator's kubeconfig file, which needs
// no other file. It goes with the cluster.
func (c *Cluster) Kubeconfig() string { return c.file("admin.kubeconfig") }

// WriteUserKubeconfig writes a kubeconfig file for a program that is to run as
// the user. It needs no other file.
func (c *Cluster) WriteUserKubeconfig(file, user string, groups ...string) error {
	config, err := c.UserConfig(user, groups...)
	if err != nil {
		return err
	}
	return writeKubeconfig(file, config)
}

func writeKubeconfig(file string, config *rest.Config) error {
	const name = "pratique-test"
	err := clientcmd.WriteToFile(api.Config{
		Clusters:       map[string]*api.Cluster{name: {Server: config.Host, CertificateAuthorityData: config.CAData}},
		AuthInfos:      map[string]*api.AuthInfo{name: {ClientCertificateData: config.CertData, ClientKeyData: config.KeyData}},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, file)
	if err != nil {
		return fmt.Errorf("writing kubeconfig: %w", err)
	}
	return nil
}
