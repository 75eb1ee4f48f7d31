package core_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
)

func up(id core.MemberID, kinds ...string) core.Member {
	return core.Member{ID: id, Address: string(id) + ":1", Kinds: kinds, Status: core.Up}
}

func idsOf(ms []core.Member) string {
	var out []byte
	for _, m := range ms {
		out = append(out, m.ID...)
	}
	return string(out)
}

func TestMemberSets(t *testing.T) {
	set := func(text string) core.Members {
		var ms []core.Member
		for _, r := range text {
			ms = append(ms, up(core.MemberID(r)))
		}
		return core.NewMembers(ms...)
	}
	tests := []struct{ a, b, union, difference, intersection string }{
		{"", "", "", "", ""},
		{"a", "", "a", "a", ""},
		{"", "a", "a", "", ""},
		{"ab", "bc", "abc", "a", "b"},
		{"cba", "abc", "abc", "", "abc"},
		{"ace", "bd", "abcde", "ace", ""},
		{"aab", "bb", "ab", "a", "b"},
	}
	for _, tt := range tests {
		a, b := set(tt.a), set(tt.b)
		if got := idsOf(a.Union(b)); got != tt.union {
			t.Errorf("%q ∪ %q = %q, want %q", tt.a, tt.b, got, tt.union)
		}
		if got := idsOf(a.Difference(b)); got != tt.difference {
			t.Errorf("%q \\ %q = %q, want %q", tt.a, tt.b, got, tt.difference)
		}
		if got := idsOf(a.Intersection(b)); got != tt.intersection {
			t.Errorf("%q ∩ %q = %q, want %q", tt.a, tt.b, got, tt.intersection)
		}
	}
}

func TestMemberSetsKeepTheRightRow(t *testing.T) {
	old, newer := up("a"), up("a")
	newer.Weight = 7
	s, o := core.NewMembers(old), core.NewMembers(newer)
	if got := s.Union(o)[0].Weight; got != 7 {
		t.Errorf("union has weight %d, want that of its argument", got)
	}
	if got := s.Intersection(o)[0].Weight; got != 0 {
		t.Errorf("intersection has weight %d, want that of its receiver", got)
	}
	if got := core.NewMembers(old, newer); len(got) != 1 || got[0].Weight != 7 {
		t.Errorf("of two rows of one ID %v stayed, want the last", got)
	}
	if s[0].Weight != 0 || len(s) != 1 || len(o) != 1 {
		t.Error("an operand was modified")
	}
}

// TestMemberSetsAgainstMaps holds the sets against maps, by random sets of random order.
func TestMemberSetsAgainstMaps(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	draw := func() (core.Members, map[core.MemberID]bool) {
		in := map[core.MemberID]bool{}
		var ms []core.Member
		for range random.IntN(12) {
			id := core.MemberID(rune('a' + random.IntN(10)))
			in[id] = true
			ms = append(ms, up(id))
		}
		return core.NewMembers(ms...), in
	}
	for range 500 {
		a, inA := draw()
		b, inB := draw()
		for c := 'a'; c < 'k'; c++ {
			id := core.MemberID(c)
			if a.Union(b).Has(id) != (inA[id] || inB[id]) || a.Difference(b).Has(id) != (inA[id] && !inB[id]) ||
				a.Intersection(b).Has(id) != (inA[id] && inB[id]) {
				t.Fatalf("%q of %v and %v", id, inA, inB)
			}
		}
		if !slices.IsSortedFunc(a.Union(b), func(x, y core.Member) int { return len(x.ID) - len(y.ID) + int(x.ID[0]) - int(y.ID[0]) }) {
			t.Fatalf("not sorted: %v", a.Union(b))
		}
	}
}

func TestMemberHosts(t *testing.T) {
	m := up("a", "Cart", "User")
	if !m.Hosts("Cart") || !m.Hosts("User") || m.Hosts("Car") || m.Hosts("") {
		t.Error("kinds")
	}
	for _, s := range []core.Status{core.Joining, core.Leaving, 0, 9} {
		if m.Status = s; m.Hosts("Cart") {
			t.Errorf("%v hosts", s)
		}
	}
}

func TestWords(t *testing.T) {
	words := map[string]string{
		core.Joining.String(): "joining", core.Up.String(): "up", core.Leaving.String(): "leaving",
		core.Status(0).String(): "removed", core.Status(9).String(): "invalid",
		core.StopIdle.String(): "idle", core.StopMoved.String(): "moved", core.StopLeaving.String(): "leaving",
		core.StopFenced.String(): "fenced", core.StopFailed.String(): "failed", core.StopRequested.String(): "requested",
		core.StopReason(0).String(): "unknown", core.StopReason(99).String(): "unknown",
		core.PID{Address: "h:1", ID: "x"}.String():                "h:1/x",
		core.Identity{Kind: "Cart", Key: "a/b"}.String():          "Cart/a/b",
		core.DeliveryUnknown.String() + core.Undelivered.String(): "unknownundelivered",
		core.Delivered.String() + core.Delivery(9).String():       "deliveredunknown",
		core.Token{Epoch: 1, Seq: 0xabc}.String():                 "00000000000000010000000000000abc",
		core.Token{Epoch: 1<<64 - 1, Seq: 1<<64 - 1}.String():     "ffffffffffffffffffffffffffffffff",
	}
	for got, want := range words {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if !(core.PID{}).IsZero() || (core.PID{Member: "m"}).IsZero() || !(core.Token{}).IsZero() || (core.Token{Seq: 1}).IsZero() {
		t.Error("IsZero")
	}
}

func TestTokenOrderIsTextOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	tokens := []core.Token{{}, {Seq: 1}, {Epoch: 1}, {Epoch: 1, Seq: 1<<64 - 1}, {Epoch: 2}, {Seq: 1 << 53}, {Seq: 1<<53 + 1}}
	for range 50 {
		tokens = append(tokens, core.Token{Epoch: random.Uint64() >> random.IntN(64), Seq: random.Uint64() >> random.IntN(64)})
	}
	for _, a := range tokens {
		for _, b := range tokens {
			byText := 0
			switch {
			case a.String() < b.String():
				byText = -1
			case a.String() > b.String():
				byText = 1
			}
			if a.Compare(b) != byText || a.Compare(b) != -b.Compare(a) {
				t.Errorf("Compare(%s, %s) = %d, their texts %d", a, b, a.Compare(b), byText)
			}
		}
	}
}
