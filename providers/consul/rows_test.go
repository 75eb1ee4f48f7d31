package consul

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// healthy is a service of Proto.Actor, as the health endpoint shows it.
func healthy(id, host string, port int, index uint64) *api.ServiceEntry {
	return &api.ServiceEntry{
		Node:    &api.Node{Node: "n", Address: "192.0.2.9"},
		Service: &api.AgentService{ID: id, Service: "shop", Tags: []string{"Hello", "Cart", "Hello"}, Address: host, Port: port, Meta: map[string]string{"id": id}, CreateIndex: index},
		Checks:  api.HealthChecks{{CheckID: "serfHealth", Status: "passing"}, {CheckID: "service:" + id, Status: "passing"}},
	}
}

func TestRows(t *testing.T) {
	with := func(change func(*api.ServiceEntry)) *api.ServiceEntry {
		e := healthy("a", "10.0.0.1", 7000, 5)
		change(e)
		return e
	}
	status := func(s string) *api.ServiceEntry {
		return with(func(e *api.ServiceEntry) { e.Checks[1].Status = s })
	}
	meta := func(key, value string) *api.ServiceEntry {
		return with(func(e *api.ServiceEntry) { e.Service.Meta[key] = value })
	}
	joining := meta(statusKey, "joining")
	joining.Checks[1].Status = "warning"
	for name, c := range map[string]struct {
		services []*api.ServiceEntry
		want     string // members
		errs     int
	}{
		"a member of Proto.Actor": {[]*api.ServiceEntry{healthy("a", "10.0.0.1", 7000, 5)}, "a@10.0.0.1:7000 [Cart Hello] up", 0},
		"without an ID":           {[]*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Service.Meta = nil })}, "shop@10.0.0.1:7000@10.0.0.1:7000 [Cart Hello] up", 0},
		"IPv6":                    {[]*api.ServiceEntry{healthy("a", "fe80::1", 7000, 5)}, "a@[fe80::1]:7000 [Cart Hello] up", 0},
		"warning":                 {[]*api.ServiceEntry{status("warning")}, "", 0},
		"critical":                {[]*api.ServiceEntry{status("critical")}, "", 0},
		"an unknown status":       {[]*api.ServiceEntry{status("sleepy")}, "", 0},
		"a sick node":             {[]*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Checks[0].Status = "critical" })}, "", 0},
		"no checks":               {[]*api.ServiceEntry{with(func(e *api.ServiceEntry) { e.Checks = nil })}, "", 0},
		"nothing in it":           {[]*api.ServiceEntry{nil, {}, with(func(e *api.ServiceEntry) { e.Checks[0] = nil })}, "", 0},
		"joining":                 {[]*api.ServiceEntry{joining}, "a@10.0.0.1:7000 [Cart Hello] joining", 0},
		"leaving":                 {[]*api.ServiceEntry{meta(statusKey, "leaving")}, "a@10.0.0.1:7000 [Cart Hello] leaving", 0},
		"entry of mode Record":    {[]*api.ServiceEntry{meta(ownerKey, "record")}, "", 0},
		"port 0":                  {[]*api.ServiceEntry{healthy("a", "10.0.0.1", 0, 5)}, "", 1},
		"port 70000":              {[]*api.ServiceEntry{healthy("a", "10.0.0.1", 70000, 5)}, "", 1},
		"no host":                 {[]*api.ServiceEntry{healthy("a", "", 7000, 5)}, "", 1},
		"a bad status":            {[]*api.ServiceEntry{meta(statusKey, "dead")}, "", 1},
		"a bad weight":            {[]*api.ServiceEntry{meta(weightKey, "70000")}, "", 1},
		"a bad protocol":          {[]*api.ServiceEntry{meta(protocolKey, "1")}, "", 1},
		"one of two is bad":       {[]*api.ServiceEntry{healthy("b", "", 1, 1), healthy("a", "10.0.0.1", 7000, 5)}, "a@10.0.0.1:7000 [Cart Hello] up", 1},
		"restarted on one address": {[]*api.ServiceEntry{healthy("old", "10.0.0.1", 7000, 5), healthy("new", "10.0.0.1", 7000, 9), healthy("older", "10.0.0.1", 7000, 2)},
			"new@10.0.0.1:7000 [Cart Hello] up", 0},
		"one ID twice": {[]*api.ServiceEntry{healthy("a", "10.0.0.1", 7000, 5), healthy("a", "10.0.0.2", 7000, 9)}, "a@10.0.0.2:7000 [Cart Hello] up", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, errs := rows("shop", c.services)
			var text []string
			for _, m := range got {
				text = append(text, fmt.Sprintf("%s@%s %v %v", m.ID, m.Address, m.Kinds, m.Status))
			}
			if strings.Join(text, ", ") != c.want || len(errs) != c.errs {
				t.Errorf("%q with complaints %v, want %q and %d", text, errs, c.want, c.errs)
			}
		})
	}
}

// What a member writes comes back as the row that it was.
func TestEntryComesBack(t *testing.T) {
	e := entry{service: "shop", ttl: 3e9}
	for _, m := range []core.Member{
		self,
		{ID: "x y%ü", Address: "[::1]:65535", Status: core.Joining, Weight: 7, Protocol: core.Protocol{Min: 1, Max: 3}},
		{ID: "z", Address: "host.test:1", Status: core.Leaving, Weight: 65535, Kinds: []string{"A", "B"}},
	} {
		r, err := e.registration(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := row("shop", &api.AgentService{ID: r.ID, Tags: r.Tags, Address: r.Address, Port: r.Port, Meta: r.Meta})
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Errorf("%+v came back as %+v: %v", m, back, err)
		}
	}
	for _, bad := range []core.Member{{ID: "a", Address: "nowhere"}, {ID: "a", Address: "h:0"}, {ID: "a", Address: "h:x"}, {ID: "a", Address: ":1"}, {ID: "a/b", Address: "h:1"}} {
		if _, err := e.registration(bad); err == nil {
			t.Errorf("%+v has an entry", bad)
		}
	}
}

// captured are the requests that a member of Proto.Actor makes.
func captured(t testing.TB) (out []struct {
	Method, URL string
	Body        map[string]any
}) {
	data, err := os.ReadFile("testdata/providers.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Requests []struct {
			Method string         `json:"method"`
			URL    string         `json:"url"`
			Body   map[string]any `json:"body"`
		} `json:"consul_requests"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, r := range file.Requests {
		out = append(out, struct {
			Method, URL string
			Body        map[string]any
		}{r.Method, r.URL, r.Body})
	}
	return out
}

// The entry of an Up member is what Proto.Actor writes, field for field. What the requests are in all is shown
// against a real agent in integration/matrix.
func TestEntryIsProtoActors(t *testing.T) {
	want := captured(t)[0].Body
	c := newCatalog(Config{Name: "mycluster", Mode: Catalog}.withDefaults(), nil)
	r, err := c.keeper.registration(core.Member{ID: core.MemberID(fmt.Sprint(want["ID"])), Address: "127.0.0.1:37849", Kinds: []string{"Hello", "prototopic"}, Status: core.Up})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("written is\n%v, want\n%v", got, want)
	}
	if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, slices.Sorted(maps.Keys(want))) {
		t.Errorf("fields %v", keys)
	}
}

func TestSight(t *testing.T) {
	a, b := healthy("a", "10.0.0.1", 7000, 5), healthy("b", "10.0.0.2", 7000, 6)
	sickA := healthy("a", "10.0.0.1", 7000, 5)
	sickA.Checks[1].Status = "critical"
	bad := healthy("c", "", 7000, 6)
	s := sight{cluster: "shop", self: "a"}
	for i, step := range []struct {
		services []*api.ServiceEntry
		members  int // of the view; 0: none
		late     bool
		errs     int
	}{
		{services: []*api.ServiceEntry{a}, members: 1},
		{services: []*api.ServiceEntry{a}},
		{services: []*api.ServiceEntry{b, a}, members: 2},
		{services: []*api.ServiceEntry{a, b}},
		{services: []*api.ServiceEntry{a, b, bad}, errs: 1},
		{services: []*api.ServiceEntry{a, b, bad}},
		{services: []*api.ServiceEntry{a, b}},
		{services: []*api.ServiceEntry{a, b, bad}, errs: 1},
		{services: []*api.ServiceEntry{b}, late: true},
		{services: []*api.ServiceEntry{sickA, b}, late: true},
		{services: nil, late: true},
		{services: []*api.ServiceEntry{a}, members: 1},
	} {
		view, errs := s.next(step.services)
		n := 0
		if view != nil {
			n = view.Len()
		}
		if n != step.members || s.late != step.late || len(errs) != step.errs {
			t.Errorf("step %d: %d members, late %v, %v; want %+v", i, n, s.late, errs, step)
		}
	}
	if s.epoch != 3 {
		t.Errorf("%d epochs, want 3", s.epoch)
	}
}
