package cluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are picked below the range that Linux takes the ports of outgoing
// connections from (32768 on) and below Kubernetes' node ports (30000 on).
// Inside it, a client that keeps dialling an API server that is just
// restarting could be given the server's own port.
const (
	firstPort = 20000
	pastPort  = 30000
	// portTries is how many picks are made before giving up: with half of the
	// range taken, the chance that all fail is below one in a billion.
	portTries = 32
)

// loopback is the only address that anything here listens on.
const loopback = "127.0.0.1"

// freePort picks a port of loopback that nobody listens on. Somebody may take
// it before it is used, so its user tries again with another.
func freePort() (int, error) {
	var last error
	for range portTries {
		port := firstPort + rand.IntN(pastPort-firstPort)
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port in %d tries: %w", portTries, last)
}
