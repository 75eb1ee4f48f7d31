package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// client speaks with one agent. Safe for concurrent use.
type client struct {
	api     *api.Client
	http    *http.Client
	server  string // its address, for errors
	center  string // datacenter; empty: the agent's
	timeout time.Duration
}

// longest is how many bytes of an answer are read: some hundred times what the largest cluster needs.
const longest = 64 << 20

func newClient(cfg Config) (*client, error) {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: cfg.Timeout,
		MaxIdleConnsPerHost: 4, // a watch, a renewal, a check and a write
		IdleConnTimeout:     90 * time.Second,
		TLSClientConfig:     cfg.TLS.Clone(),
	}
	scheme := "http"
	if cfg.TLS != nil {
		scheme = "https"
	}
	conf := &api.Config{
		Address: cfg.Address, Scheme: scheme, Token: cfg.Token, HttpClient: &http.Client{Transport: bounded{transport}},
	}
	a, err := api.NewClient(conf) // fills in conf
	if err != nil {
		return nil, fmt.Errorf("Config.Address is %q: %w: %w", cfg.Address, err, core.ErrInvalid)
	}
	c := &client{api: a, http: conf.HttpClient, center: cfg.Datacenter, timeout: cfg.Timeout}
	c.server = cmp.Or(cfg.Address, conf.Address)
	return c, nil
}

// bounded reads no more than longest bytes of an answer.
type bounded struct{ *http.Transport }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.Transport.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, longest), resp.Body}
	}
	return resp, err
}

// close ends the connections that are not in use.
func (c *client) close() { c.http.CloseIdleConnections() }

// call runs do within the time of one request, and gives its error a kind.
func (c *client) call(ctx context.Context, do func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.failure(ctx, do(limited))
}

// query are the options of a read whose answer is the newest there is.
func (c *client) query(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{Datacenter: c.center, RequireConsistent: true}).WithContext(ctx)
}

func (c *client) write(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{Datacenter: c.center}).WithContext(ctx)
}

// oldest is the first version of Consul that has all that is used here: sessions without checks on nodes.
var oldest = [2]int{1, 7}

// check asks the agent what it is. A token that may not ask is no fault: the version is not known then.
func (c *client) check(ctx context.Context) error {
	var self struct{ Config struct{ Version string } }
	err := c.call(ctx, func(ctx context.Context) error {
		_, err := c.api.Raw().Query("/v1/agent/self", &self, (&api.QueryOptions{}).WithContext(ctx))
		if denied(err) {
			self.Config.Version = fmt.Sprintf("%d.%d", oldest[0], oldest[1])
			return nil
		}
		return err
	})
	if err != nil || !tooOld(self.Config.Version) {
		return err
	}
	return fmt.Errorf("%s: the agent is of version %q; use Consul %d.%d or later: %w", c.server, self.Config.Version, oldest[0], oldest[1], core.ErrUnsupported)
}

func denied(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && status.Code == http.StatusForbidden && strings.Contains(status.Body, "Permission denied")
}

func tooOld(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return true
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return err1 != nil || err2 != nil || major < oldest[0] || major == oldest[0] && minor < oldest[1]
}

// failure gives an error of the client its kind, and says whose it is and what to do about it.
func (c *client) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w: %w", c.server, err, ctx.Err())
	}
	text := err.Error()
	for _, f := range failures {
		if strings.Contains(text, f.mark) {
			return fmt.Errorf("%s: %w: %s: %w", c.server, err, f.way, f.kind)
		}
	}
	return fmt.Errorf("%s: %w: %w", c.server, err, core.ErrUnreachable)
}

// failures are what Consul and the ways to it say, the narrower first. What is ErrInvalid is not tried again by
// a join.
var failures = []struct {
	mark string
	kind error
	way  string
}{
	{"ACL not found", core.ErrInvalid, "the server does not know the token; check Config.Token"},
	{"Permission denied", core.ErrInvalid, "the token does not allow it; give its policy what the documentation of this package lists"},
	{filtered, core.ErrInvalid, "the token does not allow it; give its policy what the documentation of this package lists"},
	{"Invalid Session TTL", core.ErrInvalid, "raise Config.TTL, or lower session_ttl_min of the servers"},
	{"HTTP request to an HTTPS server", core.ErrInvalid, "the port speaks TLS; set Config.TLS, or use the plain port"},
	{"HTTP response to HTTPS client", core.ErrInvalid, "the port speaks plain HTTP; leave Config.TLS out, or use the HTTPS port"},
	{"x509: ", core.ErrInvalid, "the certificate of the server is not trusted; check RootCAs and ServerName of Config.TLS"},
	{"remote error: tls: ", core.ErrInvalid, "the server refuses the TLS connection; check Certificates and the versions of Config.TLS"},
	{"tls: first record does not look like", core.ErrInvalid, "the port does not speak TLS; check Config.Address"},
	{"Request body(", core.ErrInvalid, "the server takes less than Config.MaxRequest says; lower it, or raise txn_max_req_len of the servers"},
	{"response code: 429", core.ErrUnreachable, "the server is asked too often; raise its limits"},
	{"response code: 404", core.ErrInvalid, "what listens there is not a Consul agent of this version; check Config.Address"},
	{"Missing node registration", core.ErrUnreachable, "the agent is not in the catalogue yet"},
	{"No cluster leader", core.ErrUnreachable, "the servers have no leader at present"},
	{"No known Consul servers", core.ErrUnreachable, "the agent knows no server at present"},
	{"invalid character", core.ErrUnreachable, "the answer is no JSON, or was cut off"},
}

// filtered is what an answer is refused with from which the server has left out what the token may not read.
const filtered = "the answer was filtered by ACLs"

// whole refuses an answer that lacks what the token may not read: it would look like an empty cluster.
func whole(meta *api.QueryMeta) error {
	if meta.ResultsFilteredByACLs {
		return errors.New(filtered)
	}
	return nil
}

// pace lets bursts of wake-ups through, and then one a step, so that no answer of a server makes a busy loop.
type pace struct {
	step  time.Duration
	burst int
	next  time.Time // when the budget is whole again
}

// delay is how long to wait for one more wake-up at now.
func (p *pace) delay(now time.Time) time.Duration {
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(p.step)
	return max(0, p.next.Sub(now)-time.Duration(p.burst)*p.step)
}

// sleep waits for d, or until ctx ends, whose error it returns.
func sleep(ctx context.Context, clock core.Clock, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	over := make(chan struct{})
	defer clock.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// follow is the index to ask with next, when the question with asked was answered with told: from the start
// again where the servers count from a lower number than before, as after they were restored, or not at all.
func follow(asked, told uint64) uint64 {
	if told < asked {
		return 0
	}
	return told
}
