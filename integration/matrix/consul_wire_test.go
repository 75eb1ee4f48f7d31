package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/integration/serverstest"
	"github.com/granary-go/granary/providers/consul"
)

// consulRequest is one of a member to its agent.
type consulRequest struct {
	Method string `json:"method"`
	URL    string `json:"url"`
	Body   any    `json:"body"`
}

// recorder passes requests on to an agent and notes them.
type recorder struct {
	*httptest.Server
	mu  sync.Mutex
	all []consulRequest
}

func recording(t *testing.T, to string) *recorder {
	t.Helper()
	target, err := url.Parse(to)
	must(t, err)
	r := &recorder{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // a watch that the end cuts off
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		note := consulRequest{Method: req.Method, URL: req.URL.RequestURI()}
		if len(data) > 0 && json.Unmarshal(data, &note.Body) != nil {
			t.Errorf("%s %s has the body %q", note.Method, note.URL, data)
		}
		r.mu.Lock()
		r.all = append(r.all, note)
		r.mu.Unlock()
		req.Body = io.NopCloser(bytes.NewReader(data))
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *recorder) requests() []consulRequest {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// distinct are the different requests in the order in which each came first, with what differs from run to run
// replaced: the member's ID, its port, and the number of an index.
func distinct(t *testing.T, all []consulRequest, id string) (out []consulRequest) {
	t.Helper()
	index := regexp.MustCompile(`index=\d+`)
	for _, r := range all {
		text, err := json.Marshal(r)
		must(t, err)
		text = bytes.ReplaceAll(text, []byte(id), []byte("ID"))
		text = regexp.MustCompile(`"Port":\d+`).ReplaceAll(index.ReplaceAll(text, []byte("index=N")), []byte(`"Port":1`))
		var k consulRequest
		must(t, json.Unmarshal(text, &k))
		if !slices.ContainsFunc(out, func(o consulRequest) bool { return reflect.DeepEqual(o, k) }) {
			out = append(out, k)
		}
	}
	return out
}

// captured are the requests of a member of Proto.Actor, from its start to its end.
func captured(t *testing.T) []consulRequest {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash("../../providers/consul/testdata/providers.json"))
	must(t, err)
	var file struct {
		Requests []consulRequest `json:"consul_requests"`
	}
	must(t, json.Unmarshal(data, &file))
	return file.Requests
}

// The life of a member of mode Catalog is, request for request and field for field, that of one of Proto.Actor.
func TestConsulCatalogWritesAsProtoActor(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, quick)
	agent := recording(t, server.URL)
	p := newConsul(t, consul.Config{Address: agent.URL, Name: "mycluster", Mode: consul.Catalog})
	self := core.Member{ID: "9yVhS8fUQKuVvTSqLdtXa2", Address: "127.0.0.1:8001", Kinds: []string{"Hello", "prototopic"}, Status: core.Up, Weight: 0}
	told := make(chan *core.View, 100)
	must(t, p.Join(t.Context(), mateEnv(), self, func(v *core.View) { told <- v }))
	if v := <-told; v.Len() != 1 {
		t.Errorf("it sees %s", ids(v))
	}
	refreshes := func() (n int) {
		for _, r := range agent.requests() {
			if r.URL == "/v1/agent/check/update/service:"+string(self.ID) {
				n++
			}
		}
		return n
	}
	until(t, "four refreshes", func() bool { return refreshes() >= 4 })
	must(t, p.Leave(t.Context()))
	want, got := distinct(t, captured(t), "UJoaxXx4NoRKLipMupshTV"), distinct(t, agent.requests(), string(self.ID))
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the requests are\n%+v, want\n%+v", got, want)
	}
}

// A member of Proto.Actor, as it writes itself, is seen with its address and kinds; one of ours is what Proto.Actor
// takes for a member: a service of the cluster's name all of whose checks pass, with an ID in its meta data.
func TestConsulCatalogBesideProtoActor(t *testing.T) {
	t.Parallel()
	server := serverstest.Consul(t, quick)
	first := captured(t)[0]
	body, err := json.Marshal(first.Body)
	must(t, err)
	put := func(path, body string) {
		t.Helper()
		_, err := server.Do(t.Context(), http.MethodPut, path, body)
		must(t, err)
	}
	put(first.URL, string(body))
	const id = "UJoaxXx4NoRKLipMupshTV"
	stop, over := make(chan struct{}), make(chan struct{})
	beat := func() { put("/v1/agent/check/update/service:"+id, `{"Status":"passing","Output":""}`) }
	beat()
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				_, _ = server.Do(t.Context(), http.MethodPut, "/v1/agent/check/update/service:"+id, `{"Status":"passing","Output":""}`) // the next one comes soon
			}
		}
	}()
	defer func() { close(stop); <-over }()
	ours := newMate(t, server.Addr, consul.Config{Mode: consul.Catalog, Name: "mycluster"}, "ours").join()
	v := ours.await("both", func(v *core.View) bool { return v.Len() == 2 })
	theirs, _ := v.Member(id)
	if theirs.Address != "127.0.0.1:37849" || fmt.Sprint(theirs.Kinds) != "[Hello prototopic]" || theirs.Status != core.Up || theirs.Protocol != (core.Protocol{}) {
		t.Errorf("theirs is %+v", theirs)
	}
	var services []struct {
		Service struct {
			ID, Address string
			Port        int
			Tags        []string
			Meta        map[string]string
		}
		Checks []struct{ CheckID, Status string }
	}
	data, err := server.Get(t.Context(), "/v1/health/service/mycluster")
	must(t, err, json.Unmarshal(data, &services))
	found := false
	for _, s := range services {
		if s.Service.ID != "ours" {
			continue
		}
		found = s.Service.Meta["id"] == "ours" && fmt.Sprint(s.Service.Tags) == "[Cart]" && fmt.Sprint(s.Service.Address, ":", s.Service.Port) == ours.self.Address
		for _, c := range s.Checks {
			found = found && c.Status == "passing"
		}
	}
	if !found {
		t.Errorf("ours is not what Proto.Actor takes for a member: %s", data)
	}
	put("/v1/agent/service/deregister/"+id, "")
	see(t, ours)
}
