package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
	"github.com/granary-go/granary/core/leaktest"
	"github.com/granary-go/granary/core/viewkeeper"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func client(t testing.TB, cfg Config) *Client {
	t.Helper()
	c, cleanup, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cleanup)
	return c
}

func TestConfigsThatCannotWork(t *testing.T) {
	for _, cfg := range []Config{{}, {Address: "nowhere"}, {Address: "h:1", Database: -1}, {Address: "h:1", Timeout: -1}} {
		if _, _, err := Open(cfg); !errors.Is(err, core.ErrInvalid) || !strings.HasPrefix(err.Error(), "redis: ") {
			t.Errorf("Open(%+v): %v", cfg, err)
		}
	}
	c := client(t, Config{Address: "h:1"})
	for _, cfg := range []ProviderConfig{{Name: "a{b"}, {Name: "a}b"}, {TTL: time.Second - 1}, {TTL: -1}} {
		if _, err := NewProvider(cfg, c); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("NewProvider(%+v): %v", cfg, err)
		}
	}
	for _, cfg := range []StoreConfig{{TTL: -1}, {TTL: time.Microsecond}} {
		if _, err := NewStore(cfg, c); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("NewStore(%+v): %v", cfg, err)
		}
	}
}

// Keys of a cluster share their tag with those of no other, also where one name is the beginning of another.
func TestKeysOfClusters(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"shop", "shop2", "shop:view", "", ":", "shop:"} {
		b := newBackend(name, &Client{})
		tag := b.view[:strings.IndexByte(b.view, '}')+1]
		for _, key := range []string{b.view, b.leases, b.watch.channel} {
			if other, taken := seen[key]; taken {
				t.Errorf("%q is a key of %q and of %q", key, other, name)
			}
			seen[key] = name
			if !strings.HasPrefix(key, tag) || strings.Count(key, "{") != 1 {
				t.Errorf("key %q of %q is not under the tag %q", key, name, tag)
			}
		}
	}
}

func TestSnapshots(t *testing.T) {
	known := []byte("known")
	leases := []any{"m1", "7", "m2", "what?"}
	tests := []struct {
		name   string
		answer []any
		record string
		bad    bool
	}{
		{"nothing", []any{"", nil, []any{}}, "", false},
		{"a new record", []any{"s2", "new", leases}, "new", false},
		{"the one that is known", []any{"s1", nil, leases}, "known", false},
		{"no record though its sum is another", []any{"s2", nil, leases}, "", true},
		{"too few values", []any{"s1", nil}, "", true},
		{"half a pair", []any{"s1", nil, []any{"m1"}}, "", true},
		{"a lease that is no text", []any{"s1", nil, []any{"m1", int64(7)}}, "", true},
		{"leases that are no list", []any{"s1", nil, "m1"}, "", true},
	}
	for _, tt := range tests {
		s, err := snapshot(tt.answer, "s1", known)
		if errors.Is(err, core.ErrInvalid) != tt.bad || !tt.bad && string(s.Record) != tt.record {
			t.Errorf("%s: %q, %v", tt.name, s.Record, err)
		}
	}
	s, err := snapshot(tests[1].answer, "s1", known)
	if err != nil || s.Leases["m1"] != 7 || s.Leases["m2"] == 0 || s.Leases["m2"] == renewals("1") {
		t.Errorf("leases %v, %v", s.Leases, err)
	}
}

// decodeAnswer makes of b what a server may have answered, part by part, and reads it.
func decodeAnswer(b []byte) (viewkeeper.Snapshot, error) {
	var parts []any
	var pairs []any
	for i, part := range strings.Split(string(b), "\x00") {
		switch {
		case i > 1:
			pairs = append(pairs, part)
		case part == "nil":
			parts = append(parts, nil)
		default:
			parts = append(parts, part)
		}
	}
	s, err := snapshot(append(parts, pairs), "s1", []byte("known"))
	if err != nil {
		return viewkeeper.Snapshot{}, err
	}
	return s, nil
}

func FuzzSnapshot(f *testing.F) {
	for _, s := range []string{"s1\x00nil", "s2\x00{}\x00m1\x007\x00m2\x00x", "\x00nil\x00m1", "s1"} {
		f.Add([]byte(s))
	}
	d := fuzztest.Decoder[viewkeeper.Snapshot]{Decode: decodeAnswer}
	f.Fuzz(func(t *testing.T, b []byte) {
		if strings.Count(string(b), "\x00") > 1_000 {
			t.Skip("a map of so many takes more than its text")
		}
		d.Check(t, b)
	})
}

func FuzzItem(f *testing.F) {
	f.Add([]byte("0000000000000001value"))
	f.Add([]byte("000000000000000"))
	f.Add([]byte("00000000000000zzvalue"))
	d := fuzztest.Decoder[core.Item]{
		Decode: func(b []byte) (core.Item, error) { return item(core.Key{}, string(b)) },
		Encode: func(it core.Item) ([]byte, error) { return append([]byte(text(it.Revision)), it.Value...), nil },
	}
	f.Fuzz(func(t *testing.T, b []byte) { d.Check(t, b) })
}

func TestVerdicts(t *testing.T) {
	for answer, want := range map[string]error{"done": nil, "Fabc": core.ErrFenced, "C1": core.ErrConflict, "": core.ErrInvalid, "x": core.ErrInvalid} {
		if err := verdict(answer, "t", core.Any); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", answer, err, want)
		}
	}
}

// Each kind of failure has a kind of error, the server's name, and a way out.
func TestFailures(t *testing.T) {
	c := client(t, Config{Address: "h:1"})
	for _, f := range failures {
		err := c.failure(t.Context(), errors.New(f.mark+" and so on"))
		if !errors.Is(err, f.kind) || !strings.Contains(err.Error(), f.way) || !strings.HasPrefix(err.Error(), "h:1: ") {
			t.Errorf("%s: %v", f.mark, err)
		}
	}
}
