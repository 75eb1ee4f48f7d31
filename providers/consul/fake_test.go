package consul

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/granary-go/granary/core"
)

// fake is an agent in memory that answers what a test says. It stands for what a real one cannot be made to show:
// an index that goes backwards, answers that are cut off, errors at will, another version. Whatever it says is our
// reading of Consul; what a real one does is tested in integration/matrix.
type fake struct {
	mu     sync.Mutex
	asked  []string // method and URL of each request
	last   *http.Request
	answer func(n int, r *http.Request) (status int, header map[string]string, body string)
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_ = r.Body.Close() // the test does not read it
	}
	f.mu.Lock()
	f.last = r
	f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
	n := len(f.asked)
	f.mu.Unlock()
	status, header, body := f.answer(n, r)
	if status == 0 { // a question that nothing answers
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	resp.Header.Set("X-Consul-LastContact", "0")
	for k, v := range header {
		resp.Header.Set(k, v)
	}
	return resp, nil
}

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.asked...)
}

// withFake makes a provider that speaks with f.
func withFake(t *testing.T, cfg Config, f *fake) core.Provider {
	t.Helper()
	cfg.Address = "consul.test:8500"
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	switch p := p.(type) {
	case *record:
		p.client.http.Transport = f
	case *catalog:
		p.client.http.Transport = f
	}
	return p
}

func testEnv() core.Env {
	return core.Env{
		Logger: slog.New(slog.DiscardHandler), Clock: core.SystemClock{}, Rand: rand.New(rand.NewPCG(1, 2)),
		Hooks: &core.Hooks{}, Go: func(_ string, f func()) { go f() },
	}
}

var self = core.Member{ID: "m1", Address: "10.0.0.1:7000", Kinds: []string{"Cart"}, Status: core.Up}

func indexed(n int) map[string]string { return map[string]string{"X-Consul-Index": fmt.Sprint(n)} }

// service is one service of a health answer.
func service(id, host, status string) string {
	return fmt.Sprintf(`{"Node":{},"Service":{"ID":%q,"Address":%q,"Port":7000,"Meta":{"id":%q},"CreateIndex":3},"Checks":[{"CheckID":"service:x","Status":%q}]}`, id, host, id, status)
}

// nothing is the answer of a server that has nothing.
func nothing(int, *http.Request) (int, map[string]string, string) { return 200, nil, `""` }

// watching runs a watcher on f for d, and returns how many members each view had.
func watching(t *testing.T, cfg Config, f *fake, d time.Duration) (sizes []int) {
	t.Helper()
	p := withFake(t, cfg, f)
	var mu sync.Mutex
	err := p.Watch(t.Context(), testEnv(), func(v *core.View) {
		mu.Lock()
		defer mu.Unlock()
		sizes = append(sizes, v.Len())
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := p.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	return sizes
}

func TestCatalogIndexGoesBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{answer: func(n int, r *http.Request) (int, map[string]string, string) {
			switch r.URL.Query().Get("index") {
			case "":
				if n < 3 { // of Watch, and of its goroutine
					return 200, indexed(50), "[" + service("a", "10.0.0.1", "passing") + "]"
				}
				return 200, indexed(7), "[" + service("a", "10.0.0.1", "passing") + "," + service("b", "10.0.0.2", "passing") + "]"
			case "50":
				return 200, indexed(6), "[" + service("a", "10.0.0.1", "passing") + "," + service("old", "10.0.0.3", "passing") + "]" // of a server that lags
			}
			return 0, nil, ""
		}}
		sizes := watching(t, Config{Mode: Catalog}, f, time.Second)
		if fmt.Sprint(sizes) != "[1 2]" {
			t.Errorf("views of %v members, want 1, then 2", sizes)
		}
		want := "[GET /v1/health/service/granary GET /v1/health/service/granary GET /v1/health/service/granary?index=50 GET /v1/health/service/granary GET /v1/health/service/granary?index=7]"
		if got := fmt.Sprint(f.requests()); got != want {
			t.Errorf("asked\n%v, want\n%v", got, want)
		}
	})
}

func TestCatalogBadAnswers(t *testing.T) {
	good := "[" + service("a", "10.0.0.1", "passing") + "]"
	for name, bad := range map[string]func() (int, map[string]string, string){
		"truncated": func() (int, map[string]string, string) { return 200, indexed(9), good[:40] },
		"empty":     func() (int, map[string]string, string) { return 200, indexed(9), "" },
		"no JSON":   func() (int, map[string]string, string) { return 200, indexed(9), "<html>" },
		"500":       func() (int, map[string]string, string) { return 500, nil, "No cluster leader" },
		"429":       func() (int, map[string]string, string) { return 429, nil, "slow down" },
		"no members": func() (int, map[string]string, string) {
			return 200, indexed(9), "[" + service("a", "10.0.0.1", "critical") + "]"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(n int, r *http.Request) (int, map[string]string, string) {
					if n < 3 {
						return 200, indexed(8), good
					}
					return bad()
				}}
				if sizes := watching(t, Config{Mode: Catalog}, f, time.Minute); fmt.Sprint(sizes) != "[1]" {
					t.Errorf("views of %v members, want the one before the bad answers", sizes)
				}
				if n := len(f.requests()); n < 20 || n > 1300 {
					t.Errorf("%d requests in a minute, want some, and no busy loop", n)
				}
			})
		})
	}
}

// A server that answers each question at once, with no index or with a new one each time, makes no busy loop.
func TestNoBusyLoop(t *testing.T) {
	for name, index := range map[string]func(int) map[string]string{
		"no index": func(int) map[string]string { return nil },
		"index 0":  func(int) map[string]string { return indexed(0) },
		"growing":  indexed,
		"falling":  func(n int) map[string]string { return indexed(1<<20 - n) },
	} {
		t.Run("catalog/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(n int, _ *http.Request) (int, map[string]string, string) {
					return 200, index(n), "[" + service("a", "10.0.0.1", "passing") + "]"
				}}
				watching(t, Config{Mode: Catalog}, f, 10*time.Second)
				if n := len(f.requests()); n > 250 {
					t.Errorf("%d requests in 10 s, want at most 20 a second and a few at once", n)
				}
			})
		})
		t.Run("record/"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(n int, r *http.Request) (int, map[string]string, string) {
					if strings.HasPrefix(r.URL.Path, "/v1/agent/self") {
						return 200, nil, `{"Config":{"Version":"1.11.11"}}`
					}
					return 404, index(n), ""
				}}
				watching(t, Config{}, f, 10*time.Second)
				if n := len(f.requests()); n > 500 {
					t.Errorf("%d requests in 10 s, want at most 20 questions and reads a second and a few at once", n)
				}
			})
		})
	}
}

// What cannot get better ends Join and Watch at once, with a word on what to do.
func TestClearErrorAtStart(t *testing.T) {
	agent := func(version string) func(int, *http.Request) (int, map[string]string, string) {
		return func(_ int, r *http.Request) (int, map[string]string, string) {
			return 200, nil, fmt.Sprintf(`{"Config":{"Version":%q}}`, version)
		}
	}
	for name, c := range map[string]struct {
		answer func(int, *http.Request) (int, map[string]string, string)
		kind   error
		says   string
	}{
		"version too old":  {agent("1.6.4"), core.ErrUnsupported, "use Consul 1.7 or later"},
		"version unknown":  {agent(""), core.ErrUnsupported, "use Consul 1.7 or later"},
		"no Consul at all": {func(int, *http.Request) (int, map[string]string, string) { return 404, nil, "not here" }, core.ErrInvalid, "not a Consul agent"},
		"token unknown":    {func(int, *http.Request) (int, map[string]string, string) { return 403, nil, "ACL not found" }, core.ErrInvalid, "Config.Token"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{answer: c.answer}
			joiner, watcher := withFake(t, Config{}, f), withFake(t, Config{}, f)
			for what, err := range map[string]error{
				"join":  joiner.Join(t.Context(), testEnv(), self, func(*core.View) {}),
				"watch": watcher.Watch(t.Context(), testEnv(), func(*core.View) {}),
			} {
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "consul.test:8500") {
					t.Errorf("%s: %v, want %v that says %q and names the server", what, err, c.kind, c.says)
				}
			}
		})
	}
}

// An agent that may not be asked for its version may serve all the same.
func TestVersionNotToldIsNoFault(t *testing.T) {
	f := &fake{answer: func(int, *http.Request) (int, map[string]string, string) { return 403, nil, "Permission denied" }}
	p := withFake(t, Config{}, f).(*record)
	if err := p.client.check(t.Context()); err != nil {
		t.Error(err)
	}
}

// An answer from which ACLs have taken rows looks like an empty cluster, and is refused.
func TestFilteredAnswersAreRefused(t *testing.T) {
	f := &fake{answer: func(_ int, r *http.Request) (int, map[string]string, string) {
		return 200, map[string]string{"X-Consul-Index": "5", "X-Consul-Results-Filtered-By-ACLs": "true"}, "[]"
	}}
	_, err := withFake(t, Config{}, f).(*record).Provider.SwapView(context.Background(), nil, core.ViewRecord{})
	if err == nil {
		t.Error("a provider that has not joined swaps")
	}
	b := newBackend(Config{Name: "x"}.withDefaults(), withFake(t, Config{}, f).(*record).client)
	if _, err := b.Read(t.Context()); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a filtered record: %v, want ErrInvalid", err)
	}
	if err := withFake(t, Config{Mode: Catalog}, f).Watch(t.Context(), testEnv(), func(*core.View) {}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("a filtered catalogue: %v, want ErrInvalid", err)
	}
}

// A member that cannot reach its agent goes on trying until its context ends, and says why.
func TestJoinTriesUntilItsContextEnds(t *testing.T) {
	for _, mode := range []Mode{Record, Catalog} {
		t.Run(mode.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{answer: func(int, *http.Request) (int, map[string]string, string) { return 500, nil, "No cluster leader" }}
				p := withFake(t, Config{Mode: mode}, f)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				err := p.Join(ctx, testEnv(), self, func(*core.View) {})
				if !errors.Is(err, core.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
					t.Errorf("after %v: %v, want ErrUnreachable at the deadline", time.Since(begin), err)
				}
				if n := len(f.requests()); n < 30 || n > 200 {
					t.Errorf("%d tries in a minute, want a back-off", n)
				}
				_ = p.Leave(t.Context()) // what it could not remove it says; the agent is away
			})
		})
	}
}
