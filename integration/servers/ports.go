package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// The ports that servers get if the system says nothing of the ones that it gives away.
const firstPort, endPort = 12_000, 32_768

// FreePorts are n different ports of loopback on which nobody listens now, for streams and packets, below those that the system gives to
// whoever connects: a server that is restarted finds its own free again.
func FreePorts(n int) ([]int, error) {
	end := endPort
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(text), &end) // as it was, if there is no number
	}
	if end < firstPort+1000 {
		return givenPorts(n)
	}
	var ports []int
	for try := 0; len(ports) < n; try++ {
		if try == 1000 {
			return nil, errors.New("no free ports of loopback")
		}
		port := firstPort + rand.IntN(end-firstPort)
		release, err := hold(port)
		if err == nil {
			defer release()
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// givenPorts are ports of the system's choice.
func givenPorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// hold takes a port for streams and packets.
func hold(port int) (release func(), err error) {
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return func() { _, _ = l.Close(), p.Close() }, nil
}
