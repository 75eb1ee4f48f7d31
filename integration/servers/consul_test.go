package servers

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// startConsul is for this package's own tests, which serverstest cannot be used in.
func startConsul(t *testing.T, cfg ConsulConfig) *Consul {
	t.Helper()
	c, err := StartConsul(limited(t), cfg)
	missing(t, err)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *Consul) put(t *testing.T, key, value string) {
	t.Helper()
	_, err := c.Do(limited(t), http.MethodPut, "/v1/kv/"+key, value)
	must(t, err)
}

func (c *Consul) value(t *testing.T, key string) string {
	t.Helper()
	data, err := c.Get(limited(t), "/v1/kv/"+key+"?raw")
	if err != nil && strings.Contains(err.Error(), "404") {
		return ""
	}
	must(t, err)
	return string(data)
}

// Data outlive a crash and an end in order, at the same address; Wipe takes them.
func TestConsulRestarts(t *testing.T) {
	t.Parallel()
	c := startConsul(t, ConsulConfig{})
	c.put(t, "a/b", "kept")
	addr := c.Addr
	for how, end := range map[string]func() error{"kill": c.Kill, "shutdown": c.Shutdown} {
		must(t, end())
		if _, err := c.Get(limited(t), "/v1/status/leader"); err == nil {
			t.Errorf("%s: it still serves", how)
		}
		must(t, c.Start(limited(t)))
		if got := c.value(t, "a/b"); got != "kept" || c.Addr != addr {
			t.Errorf("%s: %q at %s, want what was put, at %s", how, got, c.Addr, addr)
		}
	}
	must(t, c.Kill())
	must(t, c.Wipe())
	must(t, c.Start(limited(t)))
	if got := c.value(t, "a/b"); got != "" {
		t.Errorf("wiped, it still has %q", got)
	}
}

// Stop leaves nothing: no process, no port, no folder.
func TestConsulStops(t *testing.T) {
	t.Parallel()
	c := startConsul(t, ConsulConfig{})
	dir, pid := c.dir, c.p.cmd.Process.Pid
	must(t, c.Stop())
	if runs(pid) {
		t.Errorf("process %d runs", pid)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
	release, err := hold(port(t, c.Addr))
	must(t, err)
	release()
}

// A paused server does not answer, and goes on where it was.
func TestConsulPauses(t *testing.T) {
	t.Parallel()
	c := startConsul(t, ConsulConfig{})
	c.put(t, "k", "v")
	must(t, c.Pause())
	if data, err := c.Get(limited(t), "/v1/kv/k?raw"); err == nil {
		t.Errorf("paused, it answers %q", data)
	}
	must(t, c.Resume())
	if err := c.p.await(limited(t), c.log(), c.serves); err != nil || c.value(t, "k") != "v" {
		t.Errorf("resumed: %q, %v", c.value(t, "k"), err)
	}
	must(t, c.Pause())
	must(t, c.Stop()) // also one that is paused ends
}

// With ACL nothing is allowed without a token; it stays so after a restart.
func TestConsulACL(t *testing.T) {
	t.Parallel()
	c := startConsul(t, ConsulConfig{ACL: true})
	for range 2 {
		c.put(t, "k", "v")
		token := c.Token
		c.Token = ""
		_, err := c.Do(limited(t), http.MethodPut, "/v1/kv/k", "w")
		if c.Token = token; err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("without a token: %v, want 403", err)
		}
		must(t, c.Kill())
		must(t, c.Start(limited(t)))
	}
}

// With TLS the API wants the certificate of this run, and plain HTTP fails.
func TestConsulTLS(t *testing.T) {
	t.Parallel()
	c := startConsul(t, ConsulConfig{TLS: true})
	c.put(t, "k", "v")
	plain := *c
	plain.URL = "http://" + c.Addr
	if _, err := plain.Get(limited(t), "/v1/status/leader"); err == nil {
		t.Error("it serves without TLS")
	}
	config := c.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.Certificates = nil
	plain.URL, plain.client = c.URL, &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	if _, err := plain.Get(limited(t), "/v1/status/leader"); err == nil {
		t.Error("it serves a client without a certificate")
	}
}

// Sessions may have a short TTL where that is asked for, and settings of the test's own count.
func TestConsulSettings(t *testing.T) {
	t.Parallel()
	create := func(c *Consul) error {
		_, err := c.Do(limited(t), http.MethodPut, "/v1/session/create", `{"TTL":"1s"}`)
		return err
	}
	c := startConsul(t, ConsulConfig{SessionTTL: time.Second, Settings: map[string]any{"datacenter": "here"}})
	must(t, create(c))
	if data, err := c.Get(limited(t), "/v1/catalog/datacenters"); err != nil || !strings.Contains(string(data), `"here"`) {
		t.Errorf("datacenters %s, %v", data, err)
	}
	if err := create(startConsul(t, ConsulConfig{})); err == nil {
		t.Error("by default a TTL of 1 s is taken")
	}
}

// Several servers of a machine do not see each other.
func TestConsulsApart(t *testing.T) {
	t.Parallel()
	one, two := startConsul(t, ConsulConfig{}), startConsul(t, ConsulConfig{})
	one.put(t, "k", "v")
	if got := two.value(t, "k"); got != "" {
		t.Errorf("the other has %q", got)
	}
}

// One that does not start says why.
func TestConsulRefuses(t *testing.T) {
	t.Parallel()
	_, err := StartConsul(limited(t), ConsulConfig{Settings: map[string]any{"no_such_setting": 1}})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		missing(t, err)
		t.Errorf("error %v, want what Consul says", err)
	}
}
