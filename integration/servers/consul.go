package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ConsulConfig says how a Consul server is run.
type ConsulConfig struct {
	Dir        string         // for its data, settings and log; empty: one in the system's folder for temporary files, removed by Stop
	ACL        bool           // what no token allows is denied; Consul.Token allows all
	TLS        bool           // its API speaks HTTPS with certificates of this run, and wants one of the client
	SessionTTL time.Duration  // the least TTL of a session; 0: that of Consul, 10 s
	Settings   map[string]any // further settings, as in its file of settings; they win
}

// Consul is one Consul server of this run, of a datacenter of its own, with its API on a port of loopback. Its
// data outlives a restart; a Wipe while it is down takes them from it.
type Consul struct {
	Addr  string // of its API: host and port
	URL   string // of its API: with the scheme
	Node  string // the name of its agent
	Token string // that allows all; with ACL only

	CA, Cert, Key string // files with what a client needs; with TLS only

	dir    string
	own    bool // dir is removed by Stop
	binary string
	client *http.Client
	p      *process
}

// consulLimit is how long a Consul may take to end in order.
const consulLimit = 10 * time.Second

// StartConsul starts a Consul server, and returns once it leads, keeps what it is told, and its own agent is
// healthy. Stop ends it; it also ends with this process, however that ends (on Linux).
func StartConsul(ctx context.Context, cfg ConsulConfig) (*Consul, error) {
	binary, err := FindConsul()
	if err != nil {
		return nil, err
	}
	c := &Consul{dir: cfg.Dir, binary: binary, Node: "granary"}
	if c.dir == "" {
		if c.dir, err = os.MkdirTemp("", "granary-consul"); err != nil {
			return nil, err
		}
		c.own = true
	}
	for try := 0; ; try++ {
		if err = c.configure(cfg); err == nil {
			err = c.Start(ctx)
		}
		if err == nil {
			return c, nil
		}
		if err = errors.Join(err, c.end(consulLimit)); try == 2 || ctx.Err() != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
}

// configure writes the file of settings, with ports that are free now.
func (c *Consul) configure(cfg ConsulConfig) error {
	ports, err := FreePorts(3)
	if err != nil {
		return err
	}
	api, scheme := "http", "http://"
	used := map[string]int{"dns": -1, "http": -1, "https": -1, "grpc": -1, "serf_wan": -1, "serf_lan": ports[1], "server": ports[2]}
	settings := map[string]any{
		"server": true, "bootstrap_expect": 1, "node_name": c.Node, "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"data_dir": c.data(), "log_level": "warn", "disable_update_check": true, "ports": used,
		"connect":     map[string]any{"enabled": false},
		"performance": map[string]any{"raft_multiplier": 1},
	}
	if cfg.SessionTTL > 0 {
		settings["session_ttl_min"] = cfg.SessionTTL.String()
	}
	if cfg.ACL {
		c.Token = "3b1c6f0e-0c5f-4a52-9d5f-6a8a3d0c9e11"
		settings["acl"] = map[string]any{"enabled": true, "default_policy": "deny", "enable_token_persistence": true,
			"tokens": map[string]any{"initial_management": c.Token, "agent": c.Token}}
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if cfg.TLS {
		api, scheme = "https", "https://"
		certs, err := makeCertificates(c.dir)
		if err != nil {
			return err
		}
		c.CA, c.Cert, c.Key, transport.TLSClientConfig = certs.ca, certs.cert, certs.key, certs.client
		maps.Copy(settings, map[string]any{"ca_file": c.CA, "cert_file": c.Cert, "key_file": c.Key, "verify_incoming_https": true})
	}
	used[api] = ports[0]
	maps.Copy(settings, cfg.Settings)
	c.client = &http.Client{Transport: transport, Timeout: 2 * time.Second}
	c.Addr = fmt.Sprintf("127.0.0.1:%d", ports[0])
	c.URL = scheme + c.Addr
	text, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.file(), text, 0o600)
}

func (c *Consul) file() string { return filepath.Join(c.dir, "consul.json") }
func (c *Consul) data() string { return filepath.Join(c.dir, "data") }
func (c *Consul) log() string  { return filepath.Join(c.dir, "consul.log") }

// Start runs the server again, on the same ports, after Kill or Shutdown, with the data that it has, and returns
// once it serves.
func (c *Consul) Start(ctx context.Context) error {
	out, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close() // the server has its own
	cmd := program{c.binary}.with("agent", "-config-file="+c.file())
	cmd.Stdout, cmd.Stderr = out, out
	if c.p, err = launch(cmd); err != nil {
		return fmt.Errorf("consul: %w", err)
	}
	return c.p.await(ctx, c.log(), c.serves)
}

// serves asks the server whether it leads and its own agent is registered and healthy: sessions need that.
func (c *Consul) serves(ctx context.Context) error {
	body, err := c.Get(ctx, "/v1/health/node/"+c.Node+"?consistent")
	if err != nil {
		return err
	}
	var checks []struct{ CheckID, Status string }
	if err := json.Unmarshal(body, &checks); err != nil {
		return err
	}
	for _, k := range checks {
		if k.CheckID == "serfHealth" && k.Status == "passing" {
			return nil
		}
	}
	return fmt.Errorf("the agent is not registered yet: %s", body)
}

// Get asks the API with the token that allows all. An answer that is not 200 is an error.
func (c *Consul) Get(ctx context.Context, path string) ([]byte, error) {
	return c.Do(ctx, http.MethodGet, path, "")
}

// Do asks the API by any method, as Get does.
func (c *Consul) Do(ctx context.Context, method, path, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		req.Header.Set("X-Consul-Token", c.Token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	return data, err
}

// Pid is the number of its process.
func (c *Consul) Pid() int { return c.p.cmd.Process.Pid }

// Kill ends the server as a crash would.
func (c *Consul) Kill() error { return c.p.kill() }

// Shutdown ends the server in order; its data stay.
func (c *Consul) Shutdown() error { return c.end(consulLimit) }

func (c *Consul) end(limit time.Duration) error {
	if c.p == nil {
		return nil
	}
	return c.p.stop(limit)
}

// Pause stops the server without ending it; its connections stay open. Resume goes on.
func (c *Consul) Pause() error { return c.p.pause() }

// Resume ends a Pause.
func (c *Consul) Resume() error { return c.p.resume() }

// Wipe removes the data of a server that has ended.
func (c *Consul) Wipe() error { return os.RemoveAll(c.data()) }

// Stop ends the server, and removes its data where the folder is its own.
func (c *Consul) Stop() error {
	err := c.end(consulLimit)
	if c.own {
		err = errors.Join(err, os.RemoveAll(c.dir))
	}
	return err
}
