package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/integration/servers"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/providers/consul"
)

// quick lets leases be short.
var quick = servers.ConsulConfig{SessionTTL: time.Second}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// over waits for real time to pass, in which something must not happen, or the server does.
func over(d time.Duration) { <-time.After(d) }

func TestConsulRestartedWithItsData(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*servers.Consul) error{"killed": (*servers.Consul).Kill, "shut down": (*servers.Consul).Shutdown} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			cfg := consul.Config{TTL: 4 * time.Second}
			ms := mates(t, server.Addr, cfg, 3)
			before, _ := ms[0].last()
			must(t, end(server), server.Start(t.Context()))
			untouched(t, server.Addr, cfg, ms, before)
		})
	}
}

func TestConsulWiped(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, quick)
	cfg := consul.Config{TTL: 4 * time.Second}
	ms := mates(t, server.Addr, cfg, 3)
	before, _ := ms[0].last()
	must(t, server.Kill(), server.Wipe(), server.Start(t.Context()))
	for _, m := range ms {
		v := m.await("all members, in a new lineage", func(v *core.View) bool { return v.Lineage() != before.Lineage() && sees(v, ms...) })
		if v.Epoch() <= before.Epoch() {
			t.Errorf("%s: epoch %d after %d: that of a new lineage is larger", m.self.ID, v.Epoch(), before.Epoch())
		}
	}
}

// A server that stood still ends all sessions when it goes on. The living make theirs again, and nobody is
// taken out.
func TestConsulPausedLongerThanTheLease(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, quick)
	cfg := consul.Config{TTL: 8 * time.Second}
	ms := mates(t, server.Addr, cfg, 3)
	before, _ := ms[0].last()
	sessions := sessionIDs(t, server)
	must(t, server.Pause())
	over(2*cfg.TTL + 2*time.Second)
	must(t, server.Resume())
	deadline := time.Now().Add(patience)
	for now := sessionIDs(t, server); len(now) != 3 || now[0] == sessions[0] || now[1] == sessions[1] || now[2] == sessions[2]; now = sessionIDs(t, server) {
		if time.Now().After(deadline) {
			t.Fatalf("sessions %v, before the pause %v: want three others", now, sessions)
		}
		over(50 * time.Millisecond)
	}
	untouched(t, server.Addr, cfg, ms, before)
}

// session is one as Consul shows it.
type session struct {
	ID, Behavior, TTL  string
	LockDelay          time.Duration
	Checks, NodeChecks []string
	ServiceChecks      []any
}

func sessionList(t testing.TB, server *servers.Consul) (all []session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		data, err := server.Get(ctx, "/v1/session/list?consistent")
		if err == nil {
			must(t, json.Unmarshal(data, &all))
			return all
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		over(50 * time.Millisecond)
	}
}

// sessionIDs are in ascending order of members, whatever Consul's is: by name.
func sessionIDs(t testing.TB, server *servers.Consul) (out []string) {
	t.Helper()
	for _, s := range sessionList(t, server) {
		out = append(out, s.ID)
	}
	return out
}

// A session has a TTL and nothing else that ends it, and takes its key with it.
func TestConsulSessions(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, quick)
	m := mates(t, server.Addr, consul.Config{TTL: 30 * time.Second}, 1)[0]
	all := sessionList(t, server)
	if len(all) != 1 {
		t.Fatalf("%d sessions of one member", len(all))
	}
	s := all[0]
	if s.TTL != "30s" || s.Behavior != "delete" || s.LockDelay != time.Millisecond || len(s.Checks)+len(s.NodeChecks)+len(s.ServiceChecks) != 0 {
		t.Errorf("the session is %+v", s)
	}
	must(t, m.Leave(t.Context()))
	if all := sessionList(t, server); len(all) != 0 {
		t.Errorf("after Leave there are sessions: %+v", all)
	}
	if _, err := server.Get(t.Context(), "/v1/kv/granary/granary/lease/m0"); err == nil {
		t.Error("after Leave there is a lease")
	}
	var services map[string]any
	data, err := server.Get(t.Context(), "/v1/agent/services")
	must(t, err, json.Unmarshal(data, &services))
	if len(services) != 0 {
		t.Errorf("after Leave there are services: %s", data)
	}
}

// While the agent refuses, nothing changes; a slow one delays, and nothing more.
func TestConsulRefusesAndIsSlow(t *testing.T) {
	t.Parallel()
	for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			cfg := consul.Config{Mode: mode, TTL: 20 * time.Second}
			ms := mates(t, server.Addr, cfg, 3)
			var told []int
			for _, m := range ms {
				_, n := m.last()
				told = append(told, n)
				m.wire.cut()
			}
			over(2 * time.Second)
			for i, m := range ms {
				m.wire.mend()
				if _, n := m.last(); n != told[i] {
					t.Errorf("%s was told of something while the agent refused", m.self.ID)
				}
				m.wire.set(false, 200*time.Millisecond)
			}
			late := newMate(t, server.Addr, cfg, "late")
			late.wire.set(false, 200*time.Millisecond)
			see(t, append(ms, late.join())...)
			late.self.Weight = 7
			must(t, late.Update(t.Context(), late.self))
			ms[0].await("the weight", func(v *core.View) bool {
				row, _ := v.Member("late")
				return row.Weight == 7
			})
		})
	}
}

// Connections that neither carry nor end are given up.
func TestConsulWatchLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			cfg := consul.Config{Mode: mode, TTL: 10 * time.Second}
			ms := mates(t, server.Addr, cfg, 2)
			ms[0].wire.stall()
			late := newMate(t, server.Addr, cfg, "late").join()
			see(t, append(ms, late)...)
		})
	}
}

// What an agent has lost of a member is there again, and nobody was told of its absence.
func TestConsulRegistrationLost(t *testing.T) {
	t.Parallel()
	for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			ms := mates(t, server.Addr, consul.Config{Mode: mode, TTL: 3 * time.Second}, 2)
			id := "m1"
			if mode == consul.Record {
				id = "granary:m1"
			}
			registered := func() bool {
				data, err := server.Get(t.Context(), "/v1/health/service/granary?passing=1&consistent")
				return err == nil && bytes.Contains(data, []byte(`"service:`+id+`"`))
			}
			until(t, "the entry", registered)
			_, err := server.Do(t.Context(), http.MethodPut, "/v1/agent/service/deregister/"+id, "")
			must(t, err)
			until(t, "the entry, again", registered)
			ms[1].await("itself", func(v *core.View) bool { return sees(v, ms...) })
			see(t, ms...)
		})
	}
}

// until asks until ok.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); over(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("there is not, within %v: %s", patience, what)
		}
	}
}

// Each start on one address is a new member at once, and the one before is out at once.
func TestConsulTwentyRestarts(t *testing.T) {
	t.Parallel()
	for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			cfg := consul.Config{Mode: mode, TTL: 15 * time.Second}
			witness := mates(t, server.Addr, cfg, 1)[0]
			begin := time.Now()
			for i := range 20 {
				m := newMate(t, server.Addr, cfg, fmt.Sprint("start", i))
				m.self.Address = "10.9.8.7:7000"
				m.join()
				see(t, witness, m)
				if i%2 == 0 {
					m.wire.cut() // killed
				} else {
					must(t, m.Leave(t.Context()))
				}
			}
			t.Logf("20 starts in %v", time.Since(begin))
		})
	}
}

// Clusters whose names begin alike know nothing of each other.
func TestConsulNames(t *testing.T) {
	t.Parallel()
	for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			server := serverstest.Consul(t, quick)
			var all []*mate
			for i, name := range []string{"a", "ab", "a b", "größe%2Fx", "a.b"} {
				all = append(all, newMate(t, server.Addr, consul.Config{Mode: mode, Name: name, TTL: 15 * time.Second}, fmt.Sprint("n", i)).join())
			}
			all[0].self.Weight = 9
			must(t, all[0].Update(t.Context(), all[0].self))
			for _, m := range all {
				see(t, m)
			}
		})
	}
}

// What is wrong with a connection is told at the start, with the server and what to do.
func TestConsulErrorsAtStart(t *testing.T) {
	t.Parallel()
	plain := serverstest.Consul(t, servers.ConsulConfig{})
	secret := serverstest.Consul(t, servers.ConsulConfig{ACL: true})
	secure := serverstest.Consul(t, servers.ConsulConfig{TLS: true})
	trusted := clientTLS(t, secure)
	stranger := trusted.Clone()
	stranger.RootCAs = nil
	nameless := trusted.Clone()
	nameless.Certificates = nil
	for name, c := range map[string]struct {
		server string
		cfg    consul.Config
		kind   error
		says   string
	}{
		"wrong token":            {secret.Addr, consul.Config{Token: "00000000-0000-0000-0000-000000000001"}, core.ErrInvalid, "Config.Token"},
		"no token":               {secret.Addr, consul.Config{}, core.ErrInvalid, "policy"},
		"plain to TLS":           {secure.Addr, consul.Config{}, core.ErrInvalid, "set Config.TLS"},
		"TLS to plain":           {plain.Addr, consul.Config{TLS: trusted}, core.ErrInvalid, "leave Config.TLS out"},
		"an unknown certificate": {secure.Addr, consul.Config{TLS: stranger}, core.ErrInvalid, "RootCAs"},
		"no certificate":         {secure.Addr, consul.Config{TLS: nameless}, core.ErrInvalid, "Certificates"},
		"a lease too short":      {plain.Addr, consul.Config{TTL: 5 * time.Second}, core.ErrInvalid, "session_ttl_min"},
		"nobody there":           {closedPort(t), consul.Config{}, core.ErrUnreachable, "connection refused"},
	} {
		for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
			if mode == consul.Catalog && name == "a lease too short" {
				continue // there is no such bound
			}
			t.Run(name+"/"+mode.String(), func(t *testing.T) {
				cfg := c.cfg
				cfg.Address, cfg.Mode = c.server, mode
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if c.kind == core.ErrUnreachable {
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				p := newConsul(t, cfg)
				err := p.Join(ctx, mateEnv(), core.Member{ID: "m", Address: "h:1", Status: core.Up}, func(*core.View) {})
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.server) {
					t.Errorf("join: %v, want %v that says %q and names %s", err, c.kind, c.says, c.server)
				}
				_ = p.Leave(t.Context()) // it never joined
			})
		}
	}
	t.Run("and what is right works", func(t *testing.T) {
		for _, mode := range []consul.Mode{consul.Record, consul.Catalog} {
			cfg := consul.Config{Mode: mode, TLS: trusted, Name: mode.String()}
			see(t, newMate(t, secure.Addr, cfg, "s").join())
		}
	})
}

// The policies that the documentation lists are enough, and without the parts that may be left out too.
func TestConsulPolicies(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, servers.ConsulConfig{ACL: true})
	for name, c := range map[string]struct {
		mode  consul.Mode
		rules string
	}{
		"record":       {consul.Record, `key_prefix "granary/NAME/" { policy = "write" } session_prefix "" { policy = "write" } service "NAME" { policy = "write" } agent_prefix "" { policy = "read" }`},
		"record-least": {consul.Record, `key_prefix "granary/NAME/" { policy = "write" } session_prefix "" { policy = "write" }`},
		"catalog":      {consul.Catalog, `service "NAME" { policy = "write" } node_prefix "" { policy = "read" }`},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := json.Marshal(map[string]string{"Name": name, "Rules": strings.ReplaceAll(c.rules, "NAME", name)})
			must(t, err)
			_, err = server.Do(t.Context(), http.MethodPut, "/v1/acl/policy", string(rules))
			must(t, err)
			answer, err := server.Do(t.Context(), http.MethodPut, "/v1/acl/token", `{"Policies":[{"Name":"`+name+`"}]}`)
			must(t, err)
			var token struct{ SecretID string }
			must(t, json.Unmarshal(answer, &token))
			cfg := consul.Config{Mode: c.mode, Name: name, Token: token.SecretID}
			ms := mates(t, server.Addr, cfg, 2)
			ms[0].self.Weight = 5
			must(t, ms[0].Update(t.Context(), ms[0].self))
			ms[1].await("the change", func(v *core.View) bool { row, _ := v.Member("m0"); return row.Weight == 5 })
			if name == "record" {
				until(t, "the entry in the catalogue", func() bool {
					data, err := server.Get(t.Context(), "/v1/health/service/record?passing=1")
					return err == nil && bytes.Count(data, []byte(`"granary":"record"`))+bytes.Count(data, []byte(`"granary": "record"`)) == 2
				})
			}
			must(t, ms[0].Leave(t.Context()))
			see(t, ms[1])
		})
	}
}

const viewKey = "/v1/kv/granary/granary/view"

func TestConsulRecordTouchedByHand(t *testing.T) {
	t.Parallel()
	t.Run("spoilt, and mended", func(t *testing.T) {
		t.Parallel()
		server := serverstest.Consul(t, quick)
		cfg := consul.Config{TTL: 5 * time.Second}
		ms := mates(t, server.Addr, cfg, 2)
		before, told := ms[0].last()
		good, err := server.Get(t.Context(), viewKey+"?raw")
		must(t, err)
		_, err = server.Do(t.Context(), http.MethodPut, viewKey, `{"format":`)
		must(t, err)
		late := newMate(t, server.Addr, cfg, "late")
		if err := late.Join(t.Context(), mateEnv(), late.self, late.report); !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("join to a record that cannot be read: %v, want ErrInvalid that says so", err)
		}
		if _, n := ms[0].last(); n != told {
			t.Error("a record that cannot be read was reported")
		}
		if now, err := server.Get(t.Context(), viewKey+"?raw"); err != nil || string(now) != `{"format":` {
			t.Errorf("the record that cannot be read was overwritten with %s: %v", now, err)
		}
		_, err = server.Do(t.Context(), http.MethodPut, viewKey, string(good))
		must(t, err)
		untouched(t, server.Addr, cfg, ms, before)
	})
	t.Run("deleted", func(t *testing.T) {
		t.Parallel()
		server := serverstest.Consul(t, quick)
		ms := mates(t, server.Addr, consul.Config{TTL: 5 * time.Second}, 3)
		before, _ := ms[0].last()
		_, err := server.Do(t.Context(), http.MethodDelete, viewKey, "")
		must(t, err)
		for _, m := range ms {
			m.await("all, in a new lineage", func(v *core.View) bool { return v.Lineage() != before.Lineage() && sees(v, ms...) })
		}
	})
	t.Run("a lease deleted", func(t *testing.T) {
		t.Parallel()
		server := serverstest.Consul(t, quick)
		cfg := consul.Config{TTL: 10 * time.Second}
		ms := mates(t, server.Addr, cfg, 2)
		before, _ := ms[0].last()
		_, err := server.Do(t.Context(), http.MethodDelete, "/v1/kv/granary/granary/lease/m1", "")
		must(t, err)
		until(t, "the lease, again", func() bool {
			data, err := server.Get(t.Context(), "/v1/kv/granary/granary/lease/m1")
			return err == nil && bytes.Contains(data, []byte("Session"))
		})
		untouched(t, server.Addr, cfg, ms, before)
	})
	t.Run("a row deleted", func(t *testing.T) {
		t.Parallel()
		server := serverstest.Consul(t, quick)
		ms := mates(t, server.Addr, consul.Config{TTL: 5 * time.Second}, 3)
		var record core.ViewRecord
		good, err := server.Get(t.Context(), viewKey+"?raw")
		must(t, err, json.Unmarshal(good, &record))
		record.Members = record.Members[:2]
		record.Epoch, record.Revision, record.WriteID = record.Epoch+1, record.Revision+1, "by hand"
		edited, err := json.Marshal(record)
		must(t, err)
		_, err = server.Do(t.Context(), http.MethodPut, viewKey, string(edited))
		must(t, err)
		see(t, ms[:2]...)
		ms[2].await("a view without itself", func(v *core.View) bool { return sees(v, ms[:2]...) })
		if err := ms[2].Update(t.Context(), ms[2].self); !errors.Is(err, core.ErrEvicted) {
			t.Errorf("update without a row: %v, want ErrEvicted", err)
		}
		must(t, ms[2].Leave(t.Context()))
		see(t, ms[:2]...)
	})
}

// A record that the server would refuse is refused before it is sent, with the number of members; and where
// Config.MaxRequest says too much, with the server's word and the way out.
func TestConsulRecordTooLarge(t *testing.T) {
	t.Parallel()
	small := servers.ConsulConfig{SessionTTL: time.Second, Settings: map[string]any{"limits": map[string]any{"kv_max_value_size": 6000, "txn_max_req_len": 6000}}}
	server := serverstest.Consul(t, small)
	for name, c := range map[string]struct {
		limit int
		says  string
	}{
		"as Config says":     {6000, "2 members"},
		"as the server says": {0, "txn_max_req_len"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := consul.Config{Name: name, TTL: 5 * time.Second, MaxRequest: c.limit}
			m := mates(t, server.Addr, cfg, 1)[0]
			fat := newMate(t, server.Addr, cfg, "fat")
			for i := range 200 {
				fat.self.Kinds = append(fat.self.Kinds, fmt.Sprintf("Cart%027d", i))
			}
			err := fat.Join(t.Context(), mateEnv(), fat.self, fat.report)
			if !errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("join with a record too large: %v, want ErrInvalid that says %q", err, c.says)
			}
			must(t, fat.Leave(t.Context()))
			other := newMate(t, server.Addr, cfg, "thin").join()
			see(t, m, other)
		})
	}
}
