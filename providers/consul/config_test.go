package consul

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  Config
		says string // empty: it works
	}{
		"zero":                         {Config{}, ""},
		"https":                        {Config{Address: "https://consul.test:8501"}, ""},
		"a socket":                     {Config{Address: "unix:///run/consul.sock"}, ""},
		"a name of many letters":       {Config{Name: "größe 1.2%"}, ""},
		"an unknown scheme":            {Config{Address: "ftp://consul.test"}, "Config.Address"},
		"a slash":                      {Config{Name: "a/b"}, "Config.Name"},
		"a line break":                 {Config{Name: "a\nb"}, "Config.Name"},
		"dots":                         {Config{Name: ".."}, "Config.Name"},
		"too fast":                     {Config{TTL: time.Millisecond}, "Config.TTL"},
		"too slow":                     {Config{TTL: 25 * time.Hour}, "Config.TTL"},
		"an unknown mode":              {Config{Mode: 7}, "Config.Mode"},
		"a negative time":              {Config{Timeout: -1}, "Config.Timeout"},
		"no room":                      {Config{MaxRequest: 100}, "Config.MaxRequest"},
		"TLS over http":                {Config{Address: "http://consul.test", TLS: &tls.Config{}}, "Config.TLS"},
		"a catalogue of another place": {Config{Mode: Catalog, Datacenter: "dc2"}, "Config.Datacenter"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := New(c.cfg)
			switch {
			case c.says == "" && err != nil:
				t.Errorf("%v, want a provider", err)
			case c.says != "" && (!errors.Is(err, core.ErrInvalid) || !strings.Contains(err.Error(), c.says) || p != nil):
				t.Errorf("%v, %v, want ErrInvalid that says %s", p, err, c.says)
			}
		})
	}
}

func TestEnvironmentFillsWhatIsEmpty(t *testing.T) {
	t.Setenv("CONSUL_HTTP_ADDR", "consul.test:1234")
	t.Setenv("CONSUL_HTTP_TOKEN", "secret")
	t.Setenv("CONSUL_HTTP_SSL", "true") // Config says whether there is TLS
	c, err := newClient(Config{}.withDefaults())
	if err != nil || c.server != "consul.test:1234" {
		t.Errorf("the server is %q: %v", c.server, err)
	}
	f := &fake{answer: nothing}
	c.http.Transport = f
	_, err = c.api.Status().Leader()
	if got := f.requests(); err != nil || len(got) != 1 || f.last.URL.Scheme != "http" || f.last.URL.Host != "consul.test:1234" || f.last.Header.Get("X-Consul-Token") != "secret" {
		t.Errorf("asked %v of %v with token %q: %v", got, f.last.URL, f.last.Header.Get("X-Consul-Token"), err)
	}
}

func TestTooOld(t *testing.T) {
	for version, old := range map[string]bool{
		"1.7.0": false, "1.11.11": false, "1.18.0-dev": false, "2.0.0": false, "1.22.1+ent": false,
		"1.6.10": true, "0.9.9": true, "": true, "banana": true, "1": true, "1.x": true,
	} {
		if tooOld(version) != old {
			t.Errorf("%q: too old is %v", version, !old)
		}
	}
}

func TestPace(t *testing.T) {
	p := pace{step: 50 * time.Millisecond, burst: 10}
	now := time.Now()
	for range 10 {
		if d := p.delay(now); d != 0 {
			t.Fatalf("a burst waits for %v", d)
		}
	}
	for i := range 5 {
		if d, want := p.delay(now), time.Duration(i+1)*50*time.Millisecond; d != want {
			t.Errorf("wake-up %d after the burst waits for %v, want %v", i+1, d, want)
		}
	}
	if d := p.delay(now.Add(time.Minute)); d != 0 {
		t.Errorf("after a minute of quiet it waits for %v", d)
	}
}

func TestFollow(t *testing.T) {
	for _, c := range []struct{ asked, told, next uint64 }{{0, 5, 5}, {5, 5, 5}, {5, 9, 9}, {9, 5, 0}, {5, 0, 0}, {0, 0, 0}} {
		if got := follow(c.asked, c.told); got != c.next {
			t.Errorf("asked with %d, told %d: next is %d, want %d", c.asked, c.told, got, c.next)
		}
	}
}
