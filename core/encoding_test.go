package core_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
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

// recordDecoder is ViewRecord's decoder. Of extra fields only the spelling may differ on a trip, and of
// lists whether an empty one is there; both show in the second trip, if at all.
var recordDecoder = fuzztest.Decoder[core.ViewRecord]{
	Decode: func(data []byte) (r core.ViewRecord, err error) { err = r.UnmarshalJSON(data); return r, err },
	Encode: func(r core.ViewRecord) ([]byte, error) { return json.Marshal(r) },
	Equal: func(a, b core.ViewRecord) bool {
		return slices.EqualFunc(a.Members, b.Members, func(a, b core.Member) bool {
			same := slices.Equal(a.Kinds, b.Kinds)
			a.Kinds, b.Kinds = nil, nil
			return same && reflect.DeepEqual(a, b)
		}) && slices.Equal(a.Departed, b.Departed) && slices.Equal(a.Changes, b.Changes) && slices.Equal(a.Suspicions, b.Suspicions)
	},
}

// A record of many small things costs no more than its size allows, or is refused.
func TestRecordCostsNoMemory(t *testing.T) {
	for _, text := range []string{
		`{"members":[REPEAT{}]}`, `{"members":[REPEAT1,1]}`, `{"members":[REPEAT[],[]]}`, `{"departed":[REPEAT{},{}]}`,
		`{"changes":[REPEAT{},{}]}`, `{"suspicions":[REPEATnull,null]}`, `{"members":[{"kinds":[REPEAT"",""]}]}`,
		`{"members":[{"kinds":[REPEAT"a","b"]}]}`, `{"members":[REPEAT{"kinds":["a"]},{}]}`, `{REPEAT"a":1,"a":1}`,
		`{REPEAT"members":[],"b":1}`, `{"members":[{REPEAT"kinds":["a"],"id":"a"}]}`, `{"x":"REPEAT<<<<"}`, `REPEAT[[[[`, `{"x":REPEAT[[[[`,
		`{"epoch":REPEAT1111}`, `{"lineage":"REPEAT\\ud800"}`, `{"members":REPEAT""}`, `{"members":[{"kinds":[REPEAT"\\u0041","b"]}]}`,
	} {
		before, after, _ := strings.Cut(text, "REPEAT")
		piece := after[:min(len(after), strings.IndexAny(after+"]}", "]}"))]
		if i := strings.LastIndex(piece, ","); i > 0 {
			piece = piece[:i+1]
		}
		for _, size := range []int{2 << 10, 20 << 10, 1 << 20} {
			recordDecoder.Check(t, []byte(before+strings.Repeat(piece, size/max(len(piece), 1))+after))
		}
	}
}

// What real clusters write is read, however large and terse.
func TestLargeRecords(t *testing.T) {
	var r core.ViewRecord
	for i := range 2000 {
		m := core.Member{ID: core.MemberID(fmt.Sprint("m", i)), Address: fmt.Sprint("h:", i), Status: core.Up}
		for k := range i % 30 {
			m.Kinds = append(m.Kinds, fmt.Sprintf("K%03d", k))
		}
		r.Members = append(r.Members, m)
		if i < 1024 {
			r.Departed = append(r.Departed, core.Departure{ID: core.MemberID(fmt.Sprint("d", i)), Epoch: uint64(i)})
		}
		r.Changes = append(r.Changes, core.Change{Epoch: uint64(i), ID: m.ID})
		r.Suspicions = append(r.Suspicions, core.Suspicion{Suspect: "a", Voter: m.ID})
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if back, ok := recordDecoder.Check(t, data); !ok || len(back.Members) != 2000 {
		var r core.ViewRecord
		t.Errorf("refused: %v", r.UnmarshalJSON(data))
	}
}

// FuzzViewRecord: little memory, no panic, typed errors, and one trip through Go settles the text for
// good.
func FuzzViewRecord(f *testing.F) {
	seed, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	for _, text := range []string{"{}", "null", `{"format":2,"x":1,"Epoch":5}`, `{"members":[{"id":"a","address":"b","status":2},{"id":"a"}]}`, `{"a":1,"a":2}`, `{"members":[{"kinds":["a<b"]}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, ok := recordDecoder.Check(t, data)
		if !ok {
			return
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
