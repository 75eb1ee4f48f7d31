package gossip_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
)

// hundredThousand are values under as many keys.
func hundredThousand() []gossip.Value {
	vs := make([]gossip.Value, 100_000)
	for i := range vs {
		vs[i] = gossip.Value{Key: fmt.Sprint("k", i), Version: uint64(i + 1), Message: text("")}
	}
	return vs
}

func value(key string, version uint64, m core.Message) gossip.Value {
	return gossip.Value{Key: key, Version: version, Message: m}
}

func TestBadGossip(t *testing.T) {
	good := text("v")
	entry := func(owner core.MemberID, relayed bool, vs ...gossip.Value) []gossip.Entry {
		return []gossip.Entry{{Owner: owner, Relayed: relayed, Values: vs}}
	}
	for name, tc := range map[string]struct {
		from    core.MemberID
		entries []gossip.Entry
		want    error
		whole   bool // the message is refused, not a part of it
	}{
		"another's key":           {"b", entry("c", false, value("k", 1, good)), gossip.ErrForeign, false},
		"the receiver's key":      {"b", entry("a", true, value("k", 1, good)), gossip.ErrForeign, false},
		"the receiver's key, own": {"b", entry("a", false, value("k", math.MaxInt64, good)), gossip.ErrForeign, false},
		"version 2^64-1":          {"b", entry("b", false, value("k", math.MaxUint64, good)), gossip.ErrVersion, false},
		"version 2^63":            {"b", entry("b", false, value("k", 1<<63, good)), gossip.ErrVersion, false},
		"version 0":               {"b", entry("b", false, value("k", 0, good)), gossip.ErrVersion, false},
		"version far ahead":       {"c", entry("b", true, value("k", 8+gossip.MaxJump, good)), gossip.ErrVersion, false},
		"first word by another":   {"b", entry("d", true, value("k", 1+gossip.MaxJump, good)), gossip.ErrVersion, false},
		"100,000 keys":            {"b", entry("b", false, hundredThousand()...), gossip.ErrTooMany, false},
		"value over the bound":    {"b", entry("b", false, value("k", 8, core.Message{Type: "t", Data: make([]byte, gossip.MaxValue+1)})), gossip.ErrTooLarge, false},
		"key over the bound":      {"b", entry("b", false, value(strings.Repeat("k", gossip.MaxKey+1), 8, good)), gossip.ErrTooLarge, false},
		"type over the bound":     {"b", entry("b", false, value("k", 8, core.Message{Type: strings.Repeat("k", gossip.MaxType+1)})), gossip.ErrTooLarge, false},
		"empty key":               {"b", entry("b", false, value("", 8, good)), gossip.ErrInvalid, false},
		"key that is no text":     {"b", entry("b", false, value("\xff", 8, good)), gossip.ErrInvalid, false},
		"no type":                 {"b", entry("b", false, value("k", 8, core.Message{})), gossip.ErrInvalid, false},
		"no values":               {"b", entry("b", false), gossip.ErrInvalid, false},
		"out of order":            {"b", entry("b", false, value("k", 9, good), value("j", 8, good)), gossip.ErrInvalid, false},
		"one version twice":       {"b", entry("b", false, value("k", 8, good), value("j", 8, good)), gossip.ErrInvalid, false},
		"of an unknown member":    {"b", entry("x", true, value("k", 1, good)), gossip.ErrUnknown, false},
		"of a blocked member":     {"b", entry("z", true, value("k", 1, good)), gossip.ErrBlocked, false},
		"from an unknown member":  {"x", entry("x", false, value("k", 1, good)), gossip.ErrUnknown, true},
		"from another cluster":    {"other/1", entry("c", true, value("k", 1, good)), gossip.ErrUnknown, true},
		"from a blocked member":   {"z", entry("z", false, value("k", 1, good)), gossip.ErrBlocked, true},
		"from nobody":             {"", entry("b", true, value("k", 1, good)), gossip.ErrUnknown, true},
		"from itself":             {"a", entry("a", false, value("k", 1, good)), gossip.ErrUnknown, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOne(t, "a", "a", "b", "c", "d", "z")
			o.do(gossip.Block{IDs: []core.MemberID{"z"}})
			o.set("own", "v")
			o.receive("b", &gossip.Request{Exchange: 1, Entries: entry("b", false, value("known", 7, good))})
			before := o.Stats()
			reply := o.receive(tc.from, &gossip.Request{Exchange: 2, Entries: tc.entries})
			refused := effects[gossip.Refused](o)
			if len(refused) != 1 || !errors.Is(refused[0].Err, tc.want) || !errors.Is(refused[0].Err, core.ErrInvalid) || refused[0].From != tc.from {
				t.Fatalf("refused %v, want %v", refused, tc.want)
			}
			if (reply.Err != nil) != tc.whole || tc.whole && !errors.Is(reply.Err, tc.want) {
				t.Errorf("the reply is %+v", reply)
			}
			after := o.Stats()
			if after.Keys != before.Keys || after.Bytes != before.Bytes || len(effects[gossip.Changed](o)) > 0 {
				t.Errorf("something was taken: %v", o.out)
			}
			if after.Refused(tc.want) != before.Refused(tc.want)+1 {
				t.Errorf("%d refusals counted, want %d", after.Refused(tc.want), before.Refused(tc.want)+1)
			}
			// The good part of what follows is not held back by it.
			o.receive("b", &gossip.Request{Exchange: 3, Entries: entry("b", false, value("next", 1_000, good))})
			if _, found := o.Get("b", "next"); !found {
				t.Error("a good entry after it is not taken")
			}
		})
	}
}

// TestForgedJumps: n relayed versions, each one jump above the last, hide the owner's writes for n+1
// exchanges at most; and whoever saw none of it follows in one.
func TestForgedJumps(t *testing.T) {
	for _, n := range []int{1, 2, 10} {
		view := []core.MemberID{"a", "b", "c", "d"}
		all := map[core.MemberID]*one{}
		for _, id := range view {
			all[id] = newOne(t, id, view...)
		}
		exchange := func(from, to core.MemberID) {
			r := all[from].round(to)
			answer := all[to].receive(from, r).Response
			all[from].do(gossip.Answered{From: to, Exchange: r.Exchange, Response: answer})
		}
		exchanges := func(with core.MemberID) {
			exchange("a", with)
			exchange(with, "a")
		}
		holds := func(id core.MemberID) string {
			v, _ := all[id].Get("a", "k")
			return string(v.Message.Data)
		}
		all["a"].set("k", "first")
		exchanges("b")
		exchanges("d")
		for i := range uint64(n) {
			forged := value("k", (i+1)*(gossip.MaxJump-1), text("forged"))
			all["b"].receive("c", &gossip.Request{Exchange: i + 1, Entries: []gossip.Entry{{Owner: "a", Relayed: true, Values: []gossip.Value{forged}}}})
		}
		if holds("b") != "forged" || holds("d") != "first" {
			t.Fatalf("%d jumps: b holds %q and d %q: the test shows nothing", n, holds("b"), holds("d"))
		}
		all["a"].set("k", "second")
		took := 0
		for ; holds("b") != "second" && took <= n; took++ {
			exchanges("b")
		}
		exchanges("d")
		if holds("b") != "second" || holds("d") != "second" {
			t.Errorf("%d jumps: after %d exchanges b holds %q, and d %q", n, took, holds("b"), holds("d"))
		}
		t.Logf("%d jumps: healed by %d exchanges", n, took)
	}
}

// TestBadPart: what is good in an entry is taken, and the line stays below what is bad.
func TestBadPart(t *testing.T) {
	o := newOne(t, "a", "a", "b", "c")
	o.receive("b", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "b", Values: []gossip.Value{
		value("i", 1, text("v")), value("j", 2, core.Message{}), value("k", 3, text("v")),
	}}}})
	if got := len(o.Keys("b")); got != 2 {
		t.Fatalf("%d values taken, want 2", got)
	}
	wantTells(t, o.round("c").Entries, "b:i")
}

// TestTooManyMembers: a message about 100,000 strangers causes one Refused and holds nothing.
func TestTooManyMembers(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	r := &gossip.Request{Exchange: 1}
	for i := range 100_000 {
		r.Entries = append(r.Entries, gossip.Entry{Owner: member(i), Relayed: true, Values: values("k", 1)})
		r.Lines = append(r.Lines, gossip.Line{Owner: member(i), Version: math.MaxUint64})
	}
	o.receive("b", r)
	if refused := effects[gossip.Refused](o); len(refused) != 1 || refused[0].Count != 100_000 {
		t.Errorf("refused %v, want one with 100000 offences", refused)
	}
	if s := o.Stats(); s.Members != 2 || s.Keys != 0 {
		t.Errorf("holds %+v", s)
	}
}

func TestBadSet(t *testing.T) {
	o := newOne(t, "a", "a")
	for i := range gossip.MaxKeys {
		o.set(fmt.Sprint("k", i), "v")
	}
	for name, tc := range map[string]struct {
		key   string
		value core.Message
		want  error
	}{
		"one key too many": {"one more", text("v"), gossip.ErrTooMany},
		"too large":        {"k1", core.Message{Type: "t", Data: make([]byte, gossip.MaxValue+1)}, gossip.ErrTooLarge},
		"empty key":        {"", text("v"), gossip.ErrInvalid},
		"no type":          {"k1", core.Message{}, gossip.ErrInvalid},
	} {
		o.do(gossip.Set{Key: tc.key, Value: tc.value})
		if r := effects[gossip.Refused](o); len(r) != 1 || !errors.Is(r[0].Err, tc.want) || !errors.Is(r[0].Err, core.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, o.out, tc.want)
		}
		if tc.want != gossip.ErrTooMany && !errors.Is(gossip.CheckSet(tc.key, tc.value), tc.want) {
			t.Errorf("%s: CheckSet = %v, want %v", name, gossip.CheckSet(tc.key, tc.value), tc.want)
		}
	}
	o.do(gossip.Set{Key: "k1", Value: core.Message{Type: "t", Data: make([]byte, gossip.MaxValue)}})
	if len(effects[gossip.Changed](o)) != 1 || gossip.CheckSet("k1", text("v")) != nil {
		t.Errorf("a value of the greatest size is refused: %v", o.out)
	}
}

func TestNoMessage(t *testing.T) {
	o := newOne(t, "a", "a", "b")
	if err := o.receive("b", nil).Err; !errors.Is(err, gossip.ErrInvalid) {
		t.Errorf("a request without content gets %v", err)
	}
	o.do(gossip.Answered{From: "x", Exchange: 1, Response: &gossip.Response{}})
	if r := effects[gossip.Refused](o); len(r) != 1 || !errors.Is(r[0].Err, gossip.ErrUnknown) {
		t.Errorf("an answer of a stranger causes %v", o.out)
	}
	o.do(gossip.Failed{To: "x", Exchange: 1})
}
