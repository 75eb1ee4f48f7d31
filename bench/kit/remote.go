package kit

// runOneWay sends n messages to another process, until the receiver's own count is complete.
func runOneWay(s Subject, row *Row, n int, res *Result) error {
	server, client, err := pair(s, 1)
	if err != nil {
		return err
	}
	sink, err := client.Sink(row.size)
	if err != nil {
		return err
	}
	flood := func(n int) error {
		if err := server.call("expect", n, nil); err != nil {
			return err
		}
		if err := sink.Send(n); err != nil {
			return err
		}
		return server.call("await", nil, nil)
	}
	if err := flood(warmUp); err != nil {
		return err
	}
	m, err := begin(server)
	if err != nil {
		return err
	}
	if err := flood(n); err != nil {
		return err
	}
	if err := m.end(res, n); err != nil {
		return err
	}
	return server.call("check", nil, nil)
}

// runRemoteAsk makes n requests to another process from width callers, each to its own actor.
func runRemoteAsk(s Subject, row *Row, n int, res *Result) error {
	server, client, err := pair(s, row.width)
	if err != nil {
		return err
	}
	callers := make([]Caller, row.width)
	for i := range callers {
		if callers[i], err = client.Echo(i, row.size); err != nil {
			return err
		}
	}
	return measureCalls(res, callers, n, 1, server)
}

// pair starts a server in a child process and a client in this one.
func pair(s Subject, echoes int) (*child, Client, error) {
	server, err := startChild("server", echoes)
	if err != nil {
		return nil, nil, err
	}
	var address string
	if err := server.call("address", nil, &address); err != nil {
		return nil, nil, err
	}
	client, err := s.Client(address)
	if err != nil {
		return nil, nil, err
	}
	return server, client, server.call("meet", client.Address(), nil)
}

// serveRemote is the child process of the remote rows.
func serveRemote(s Subject, echoes int) (map[string]command, error) {
	c := new(Counter)
	server, err := s.Server(c, echoes)
	if err != nil {
		return nil, err
	}
	var latch *Latch
	return map[string]command{
		"address": func([]byte) (any, error) { return server.Address(), nil },
		"meet": func(arg []byte) (any, error) {
			client, err := decode[string](arg)
			if err != nil {
				return nil, err
			}
			return nil, server.Meet(client)
		},
		"expect": func(arg []byte) (any, error) {
			n, err := decode[int](arg)
			latch = NewLatch(1)
			c.Expect(n, latch)
			return nil, err
		},
		"await": func([]byte) (any, error) { return nil, latch.Wait(completion) },
		"check": func([]byte) (any, error) { return nil, c.Check() },
	}, nil
}

// Payload returns the bytes that remote messages and calls of grains carry.
func Payload(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}
