package rendezvous

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
)

// hex is a 64-bit word as 16 hex digits.
type hex uint64

func (h *hex) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 16, 64)
	*h = hex(v)
	return err
}

// vectors is testdata/golden.json, which was computed by a second implementation, in exact fractions.
type vectors struct {
	Mix    []struct{ In, Out hex }
	String []struct {
		Seed uint64
		Text string
		Out  hex
	}
	Combine []struct{ A, B, Out hex }
	Member  []struct {
		ID  string
		Out hex
	}
	Identity []struct {
		Kind, Key string
		Out       hex
	}
	MinusLog2 []struct {
		Draw hex
		Out  uint64
	} `json:"minus_log2"`
	Owner []struct {
		Members []Entry
		Owners  map[string]string
	}
}

func TestGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g vectors
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Mix {
		check(t, "Mix", Mix(uint64(v.In)), v.Out)
	}
	for _, v := range g.String {
		check(t, "String "+v.Text, String(v.Seed, v.Text), v.Out)
	}
	for _, v := range g.Combine {
		check(t, "Combine", Combine(uint64(v.A), uint64(v.B)), v.Out)
	}
	for _, v := range g.Member {
		check(t, "Member "+v.ID, Member(v.ID), v.Out)
	}
	for _, v := range g.Identity {
		check(t, "Identity "+v.Kind+"/"+v.Key, Identity(v.Kind, v.Key), v.Out)
	}
	for _, v := range g.MinusLog2 {
		check(t, "minusLog2", minusLog2(uint64(v.Draw)), hex(v.Out))
	}
	owners := 0
	for _, v := range g.Owner {
		r := NewRing(v.Members)
		for text, want := range v.Owners {
			kind, key, _ := strings.Cut(text, "/")
			i, ok := r.Owner(Identity(kind, key))
			if !ok || r.At(i).ID != want {
				t.Errorf("owner of %s among %d members is %q, want %q", text, r.Len(), r.At(i).ID, want)
			}
			owners++
		}
	}
	if len(g.Mix)*len(g.String)*len(g.Combine)*len(g.Member)*len(g.Identity)*len(g.MinusLog2)*owners == 0 {
		t.Error("a list of golden vectors is empty")
	}
}

func check(t *testing.T, what string, got uint64, want hex) {
	t.Helper()
	if got != uint64(want) {
		t.Errorf("%s = %016x, want %016x", what, got, uint64(want))
	}
}
