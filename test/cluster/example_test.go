package cluster_test

import (
	"context"
	"fmt"
	"log"

	"github.com/pratique-dev/pratique/test/cluster"
)

// A demo starts a cluster, shows what kubectl says, and leaves nothing behind.
// Tests use clustertest.ForTest instead.
func ExampleStart() {
	ctx := context.Background()
	c, err := cluster.Start(ctx, cluster.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop()
	if err := c.CreateNamespace(ctx, "payments", map[string]string{"env": "production"}); err != nil {
		log.Fatal(err)
	}
	stdout, _, err := c.Kubectl(ctx, "get", "namespace", "payments", "-o", "jsonpath={.metadata.labels.env}")
	fmt.Println(stdout, err)
}
