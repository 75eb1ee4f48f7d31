package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
)

var update = flag.Bool("update", false, "write the golden files")

// full is a record that uses every field.
func full() core.ViewRecord {
	return core.ViewRecord{
		Format: core.RecordFormat, Lineage: "b7d1f0c2", Epoch: 1_700_000_000_123, Revision: 42, WriteID: "w-42",
		Members: []core.Member{
			{ID: "m1", Address: "10.0.0.1:7000", Kinds: []string{"Cart", "User@2"}, Status: core.Up, Joined: 1_700_000_000_001, Weight: 250, Protocol: core.Protocol{Min: 1, Max: 3}},
			{ID: "m2", Address: "h.example:7000", Status: core.Joining},
		},
		Departed:   []core.Departure{{ID: "m0", Epoch: 1_700_000_000_100, Guard: 7*time.Second + 1}, {ID: "m3", Epoch: 1_700_000_000_120}},
		Changes:    []core.Change{{Epoch: 1_700_000_000_120, ID: "m3"}, {Epoch: 1_700_000_000_123, ID: "m2", Status: core.Joining, Weight: 9}},
		Suspicions: []core.Suspicion{{Suspect: "m2", Voter: "m1", Epoch: 1_700_000_000_122}},
		Extra:      []byte(`{"shards":[1,2],"zone":{"b":1,"a":"<&>"}}`),
	}
}

func TestRecordGolden(t *testing.T) {
	for name, r := range map[string]core.ViewRecord{"full": full(), "empty": {}} {
		path := "testdata/record-" + name + ".json"
		got, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(append(got, '\n'), want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		var back core.ViewRecord
		if err := json.Unmarshal(want, &back); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(back)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s became, by way of Go:\n%s (%v)", name, again, err)
		}
		back.Extra, r.Extra = nil, nil // compared as text above: only its spelling may differ
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%s: %+v, want %+v", name, back, r)
		}
	}
}

// TestRecordOfANewerFormat changes what it knows and keeps what it does not.
func TestRecordOfANewerFormat(t *testing.T) {
	newer := `{"format":2,"zones":{"m1":"b"},"lineage":"l","epoch":1,"revision":2,"write_id":"w","aaa":[ 1 ],"members":[]}`
	var r core.ViewRecord
	if err := json.Unmarshal([]byte(newer), &r); err != nil {
		t.Fatal(err)
	}
	r.Revision++
	got, err := json.Marshal(view(t, r).Record())
	want := `{"format":2,"lineage":"l","epoch":1,"revision":3,"write_id":"w","aaa":[1],"zones":{"m1":"b"}}`
	if err != nil || string(got) != want {
		t.Errorf("%s (%v), want\n%s", got, err, want)
	}
}

func TestRecordMarshalRefusesBadExtra(t *testing.T) {
	for _, extra := range []string{"x", "[1]", "1", `{"epoch":1}`, `{"members":[],"a":1}`, "{"} {
		if data, err := json.Marshal(core.ViewRecord{Extra: []byte(extra)}); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("extra %q: %s, %v, want ErrInvalid", extra, data, err)
		}
	}
	for _, extra := range []string{"", "{}", "null"} {
		if data, err := json.Marshal(core.ViewRecord{Extra: []byte(extra)}); err != nil || strings.Contains(string(data), ",}") {
			t.Errorf("extra %q: %s, %v", extra, data, err)
		}
	}
}

func TestRecordUnmarshalRefuses(t *testing.T) {
	for _, text := range []string{
		"null", "[]", "1", `"x"`, `{"epoch":-1}`, `{"epoch":1.5}`, `{"epoch":"1"}`, `{"epoch":18446744073709551616}`, `{"format":70000}`,
		`{"members":{}}`, `{"members":[{"id":1}]}`, `{"members":[{"status":256}]}`, `{"departed":[{"guard_ns":"1s"}]}`, "{\"lineage\":\"\xff\"}",
	} {
		var r core.ViewRecord
		if err := r.UnmarshalJSON([]byte(text)); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", text, err)
		}
		if !reflect.DeepEqual(r, core.ViewRecord{}) {
			t.Errorf("%s: refused, and yet the record is %+v", text, r)
		}
	}
	var r core.ViewRecord
	if err := r.UnmarshalJSON([]byte("{")); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("half an object: %v, want ErrInvalid", err)
	}
}

// FuzzViewRecord: no panic, typed errors, and one trip through Go settles the text for good.
func FuzzViewRecord(f *testing.F) {
	seed, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	for _, text := range []string{"{}", "null", `{"format":2,"x":1,"Epoch":5}`, `{"members":[{"id":"a","address":"b","status":2},{"id":"a"}]}`, `{"a":1,"a":2}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r core.ViewRecord
		if err := r.UnmarshalJSON(data); err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		var back core.ViewRecord
		if err := json.Unmarshal(first, &back); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, first)
		}
		second, err := json.Marshal(back)
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written\n%s\nthen\n%s (%v)", first, second, err)
		}
		v, err := core.NewView(r)
		if err != nil {
			if !errors.Is(err, core.ErrInvalid) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if v.Len() != len(r.Members) || v.Compare(v) != core.Same {
			t.Fatalf("view of %d members, record of %d", v.Len(), len(r.Members))
		}
	})
}
