package gossip_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/protos/granarypb"
)

func (o *one) unset(key string) { o.do(gossip.Unset{Key: key}) }

// names lists the keys of a member, without the engine's own list of them.
func (o *one) names(id core.MemberID) string {
	var keys []string
	for _, v := range o.Keys(id) {
		if v.Key != gossip.KeyKeys {
			keys = append(keys, v.Key)
		}
	}
	return strings.Join(keys, " ")
}

// pull has o ask from for what it lacks.
func (o *one) pull(from *one, name core.MemberID, self core.MemberID) {
	o.t.Helper()
	r := o.round(name)
	reply := from.receive(self, r)
	o.do(gossip.Answered{From: name, Exchange: r.Exchange, Response: reply.Response})
}

// TestUnset: a key that was removed is told as such, once, here and where one hears of it, and can be set anew.
func TestUnset(t *testing.T) {
	a, b := newOne(t, "a", "a", "b", "c"), newOne(t, "b", "a", "b", "c")
	a.set("j", "1")
	a.set("k", "2")
	b.pull(a, "a", "b")
	a.unset("k")
	want := gossip.Withdrawn{Member: "a", Key: "k", Version: 3}
	if got := effects[gossip.Withdrawn](a); len(got) != 1 || got[0] != want || a.names("a") != "j" {
		t.Fatalf("removed: %v, left are %q", a.out, a.names("a"))
	}
	b.pull(a, "a", "b")
	if got := effects[gossip.Withdrawn](b); len(got) != 1 || got[0] != want || b.names("a") != "j" {
		t.Fatalf("heard: %v, left are %q", b.out, b.names("a"))
	}
	b.pull(a, "a", "b")
	a.unset("k")
	a.unset("never")
	if len(a.out)+len(effects[gossip.Withdrawn](b)) > 0 {
		t.Errorf("once more: %v, %v", a.out, b.out)
	}
	a.set("k", "3")
	b.pull(a, "a", "b")
	if v, _ := b.Get("a", "k"); string(v.Message.Data) != "3" || v.Version != 4 {
		t.Errorf("set anew: %+v", v)
	}
	a.unset("j")
	a.unset("k")
	b.pull(a, "a", "b")
	if got := effects[gossip.Withdrawn](b); len(got) != 2 || b.names("a") != "" || b.Stats().Keys != 1 {
		t.Errorf("two at once: %v, %q", b.out, b.names("a"))
	}
}

// TestRemovedStaysRemoved: what was sent before the removal arrives after it, from the owner or relayed, to
// one that had the key and to one that never did.
func TestRemovedStaysRemoved(t *testing.T) {
	a := newOne(t, "a", "a", "b", "c")
	a.set("k", "1")
	a.set("j", "2")
	old := []gossip.Entry{{Owner: "a", Relayed: true, Values: slices.Clone(a.Keys("a"))}}
	a.unset("k")
	now := []gossip.Entry{{Owner: "a", Relayed: true, Values: slices.Clone(a.Keys("a"))}}
	a.set("k", "4") // and set anew, and removed again: the first list has it no more, nor the second
	a.unset("k")
	later := []gossip.Entry{{Owner: "a", Relayed: true, Values: slices.Clone(a.Keys("a"))}}
	for name, heard := range map[string][][]gossip.Entry{
		"had it": {old, now, old}, "never had it": {now, old}, "after the second": {later, old, now, old},
	} {
		b := newOne(t, "b", "a", "b", "c")
		for i, entries := range heard {
			b.receive("c", &gossip.Request{Exchange: uint64(i + 1), Entries: entries})
		}
		if s := b.Stats(); b.names("a") != "j" || s.Refused(gossip.ErrInvalid) > 0 {
			t.Errorf("%s: %q is held, %+v", name, b.names("a"), b.Stats())
		}
	}
	// A list of which a key is part again does not let in what was under it before.
	a.set("k", "5")
	fifth, _ := a.Get("a", "k")
	a.unset("j")
	b := newOne(t, "b", "a", "b", "c")
	listed := gossip.Entry{Owner: "a", Relayed: true, Base: fifth.Version, Values: a.Keys("a")[1:]}
	b.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{listed}})
	b.receive("c", &gossip.Request{Exchange: 2, Entries: old})
	if b.names("a") != "" {
		t.Errorf("%q is held, of which one was replaced and one removed", b.names("a"))
	}
	b.receive("c", &gossip.Request{Exchange: 3, Entries: []gossip.Entry{{Owner: "a", Relayed: true, Values: a.Keys("a")}}})
	if v, _ := b.Get("a", "k"); string(v.Message.Data) != "5" || b.names("a") != "k" {
		t.Errorf("%+v of %q", v, b.names("a"))
	}
}

// TestRemovedCountsUntilAllKnow: the place of a removed key is free once all members of the view have heard, so
// that none of them ever holds more than it may.
func TestRemovedCountsUntilAllKnow(t *testing.T) {
	a, b, c := newOne(t, "a", "a", "b", "c"), newOne(t, "b", "a", "b", "c"), newOne(t, "c", "a", "b", "c")
	for i := range gossip.MaxKeys {
		a.set(fmt.Sprint(i), "v")
	}
	b.pull(a, "a", "b")
	a.unset("0")
	a.unset("1")
	refused := func(key string) bool {
		a.set(key, "v")
		r := effects[gossip.Refused](a)
		return len(r) == 1 && errors.Is(r[0].Err, gossip.ErrTooMany)
	}
	if !refused("new") {
		t.Error("a new key, and nobody has heard of the removal")
	}
	b.pull(a, "a", "b")
	b.pull(a, "a", "b") // which acknowledges the first
	if !refused("new") {
		t.Error("a new key, and one has not heard of the removal")
	}
	if refused("0") || refused("2") {
		t.Error("a key that was there is refused")
	}
	c.pull(a, "a", "c")
	c.pull(a, "a", "c")
	if refused("new") || !refused("newer") {
		t.Error("with one place free, a new key is refused, or a second is not")
	}
	b.pull(a, "a", "b")
	c.pull(a, "a", "c")
	late := newOne(t, "c", "a", "b", "c") // all of it in one message
	late.receive("a", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "a", Values: a.Keys("a")}}})
	if s := late.Stats(); late.names("a") != a.names("a") || s.Refused(gossip.ErrTooMany) > 0 {
		t.Errorf("all at once: %q", late.names("a"))
	}
	if a.names("a") != b.names("a") || a.names("a") != c.names("a") || len(a.Keys("a")) != gossip.MaxKeys+1 {
		t.Errorf("a has %q, b %q, c %q", a.names("a"), b.names("a"), c.names("a"))
	}
	for _, o := range []*one{b, c} {
		if s := o.Stats(); s.Refused(gossip.ErrTooMany) > 0 {
			t.Errorf("%d were refused", s.Refused(gossip.ErrTooMany))
		}
	}
}

// TestSetAnewCountsOnce: a key that was removed and set again is one key.
func TestSetAnewCountsOnce(t *testing.T) {
	a := newOne(t, "a", "a", "b")
	for i := range gossip.MaxKeys - 1 {
		a.set(fmt.Sprint(i), "v")
	}
	a.unset("0")
	a.set("0", "v")
	a.set("new", "v")
	if r := effects[gossip.Refused](a); len(r) > 0 {
		t.Error(r)
	}
}

// TestWhatIsClaimedFreesNoPlace: a member that was made to believe in later writes has not heard of a removal.
func TestWhatIsClaimedFreesNoPlace(t *testing.T) {
	a, b := newOne(t, "a", "a", "b"), newOne(t, "b", "a", "b", "c")
	for i := range gossip.MaxKeys {
		a.set(fmt.Sprint(i), "v")
	}
	a.unset("0")
	forged := []gossip.Value{{Key: "never", Version: 900, Message: text("x")}}
	b.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "a", Relayed: true, Values: forged}}})
	b.do(gossip.Installed{IDs: []core.MemberID{"a", "b"}})
	a.receive("b", b.round("a")) // says that it holds all up to 900; the answer is lost
	a.set("new", "v")
	if r := effects[gossip.Refused](a); len(r) != 1 {
		t.Error("the place is taken for free")
	}
	b.pull(a, "a", "b")
	b.pull(a, "a", "b")
	a.set("new", "v")
	if r := effects[gossip.Refused](a); len(r) > 0 {
		t.Error(r)
	}
}

// TestListingMakesRoom: in one message come a new key and, later, the list without an old one.
func TestListingMakesRoom(t *testing.T) {
	b := newOne(t, "b", "a", "b")
	first := gossip.Entry{Owner: "a"}
	for i := range gossip.MaxKeys {
		first.Values = append(first.Values, gossip.Value{Key: fmt.Sprint("k", i), Version: uint64(i + 1), Message: text("v")})
	}
	b.receive("a", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{first}})
	listed := first.Values[1:]
	next := gossip.Entry{Owner: "a", Base: 64, Values: []gossip.Value{
		{Key: "new", Version: 65, Message: text("v")},
		{Key: gossip.KeyKeys, Version: 66, Message: listOf(t, append(slices.Clone(listed), gossip.Value{Key: "new", Version: 65})...)},
	}}
	b.receive("a", &gossip.Request{Exchange: 2, Entries: []gossip.Entry{next}})
	s := b.Stats()
	if _, found := b.Get("a", "new"); !found || s.Refused(gossip.ErrTooMany) > 0 || len(b.Keys("a")) != gossip.MaxKeys+1 {
		t.Errorf("%d keys, the new one: %v, refused %d", len(b.Keys("a")), found, s.Refused(gossip.ErrTooMany))
	}
}

// listOf is what the owner of values would say it has; the generated code writes it.
func listOf(t *testing.T, values ...gossip.Value) core.Message {
	t.Helper()
	p := &granarypb.StateKeys{}
	for _, v := range values {
		p.Keys = append(p.Keys, &granarypb.StateKeys_Key{Name: v.Key, Version: v.Version})
	}
	data, err := proto.Marshal(p)
	must(t, err)
	return core.Message{Type: gossip.TypeKeys, Data: data}
}

// TestListingIsGenerated holds what is written by hand to the generated code, both ways.
func TestListingIsGenerated(t *testing.T) {
	a := newOne(t, "a", "a")
	a.set("j", "1")
	a.set("k", "2")
	a.set("l", "3")
	a.unset("k")
	a.set("m", "5")
	a.unset("m")
	got, _ := a.Get("a", gossip.KeyKeys)
	var p granarypb.StateKeys
	if err := proto.Unmarshal(got.Message.Data, &p); err != nil || got.Message.Type != string(p.ProtoReflect().Descriptor().FullName()) {
		t.Fatalf("%s: %v", got.Message.Type, err)
	}
	want := listOf(t, gossip.Value{Key: "j", Version: 1}, gossip.Value{Key: "l", Version: 3})
	if string(got.Message.Data) != string(want.Data) {
		t.Errorf("%x, want %x", got.Message.Data, want.Data)
	}
}

// TestBadListings are refused, and change nothing.
func TestBadListings(t *testing.T) {
	many := make([]gossip.Value, gossip.MaxKeys+1)
	for i := range many {
		many[i].Key = fmt.Sprint(i)
	}
	for name, m := range map[string]core.Message{
		"another type":  text("v"),
		"garbage":       {Type: gossip.TypeKeys, Data: []byte{0xff}},
		"no message":    {Type: gossip.TypeKeys, Data: []byte{0x0a, 1, 0xff}},
		"too many":      listOf(t, many...),
		"a long key":    listOf(t, gossip.Value{Key: strings.Repeat("k", gossip.MaxKey+1)}),
		"an empty key":  listOf(t, gossip.Value{Version: 1}),
		"not UTF-8":     {Type: gossip.TypeKeys, Data: []byte{0x0a, 3, 0x0a, 1, 0xff}},
		"a list, short": {Type: gossip.TypeKeys, Data: []byte{0x0a, 5, 0x0a, 1, 'k'}},
	} {
		o := newOne(t, "a", "a", "b")
		entry := gossip.Entry{Owner: "b", Values: []gossip.Value{{Key: "k", Version: 1, Message: text("v")}, {Key: gossip.KeyKeys, Version: 2, Message: m}}}
		o.receive("b", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{entry}})
		if r := effects[gossip.Refused](o); len(r) != 1 || !errors.Is(r[0].Err, gossip.ErrInvalid) || r[0].Key != gossip.KeyKeys || len(o.Keys("b")) != 1 {
			t.Errorf("%s: %v", name, o.out)
		}
	}
	o := newOne(t, "a", "a")
	for name, in := range map[string]gossip.Input{
		"set": gossip.Set{Key: gossip.KeyKeys, Value: listOf(t)}, "unset": gossip.Unset{Key: gossip.KeyKeys},
	} {
		o.do(in)
		if r := effects[gossip.Refused](o); len(r) != 1 || !errors.Is(r[0].Err, gossip.ErrInvalid) {
			t.Errorf("%s of the list itself: %v", name, o.out)
		}
	}
	client := newWith(t, gossip.Config{Self: "c", Client: true}, "a")
	client.unset("k")
	if r := effects[gossip.Refused](client); len(r) != 1 || !errors.Is(r[0].Err, core.ErrUnsupported) {
		t.Errorf("a client removes a key: %v", client.out)
	}
}

// TestRemovalAndForgery: a list that a member gone bad has forged, and a key that the owner never had, give
// way to the owner's own.
func TestRemovalAndForgery(t *testing.T) {
	a, b := newOne(t, "a", "a", "b", "c"), newOne(t, "b", "a", "b", "c")
	a.set("j", "1")
	a.set("k", "2")
	a.unset("k")
	a.set("l", "4")
	forged := []gossip.Value{{Key: "never", Version: 900, Message: text("x")}, {Key: gossip.KeyKeys, Version: 1000, Message: listOf(t, gossip.Value{Key: "never", Version: 900})}}
	b.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "a", Relayed: true, Values: forged}}})
	for range 3 {
		r := b.round("a")
		reply := a.receive("b", r)
		b.do(gossip.Answered{From: "a", Exchange: r.Exchange, Response: reply.Response})
	}
	if !slices.EqualFunc(a.Keys("a"), b.Keys("a"), sameValue) || b.names("a") != "j l" {
		t.Errorf("b holds %v, a %v", b.Keys("a"), a.Keys("a"))
	}
	a.unset("j")
	b.pull(a, "a", "b")
	if b.names("a") != "l" {
		t.Errorf("after another removal: %q", b.names("a"))
	}
	a.receive("c", &gossip.Request{Exchange: 1, Known: math.MaxInt64 - 66})
	b.pull(a, "a", "b")
	a.unset("l")
	b.pull(a, "a", "b")
	if b.names("a") != "" || a.names("a") != "" {
		t.Errorf("after a second forgery: %q, %q", a.names("a"), b.names("a"))
	}
}

// TestMadeUpKeysGo, and the places that they took, though their owner never removed anything.
func TestMadeUpKeysGo(t *testing.T) {
	a, b := newOne(t, "a", "a", "b", "c"), newOne(t, "b", "a", "b", "c")
	a.set("j", "1")
	b.pull(a, "a", "b")
	var forged []gossip.Value
	for i := range gossip.MaxKeys - 1 {
		forged = append(forged, gossip.Value{Key: fmt.Sprint("never", i), Version: uint64(i + 100), Message: text("x")})
	}
	b.receive("c", &gossip.Request{Exchange: 1, Entries: []gossip.Entry{{Owner: "a", Relayed: true, Values: forged}}})
	if got := len(b.Keys("a")); got != gossip.MaxKeys {
		t.Fatalf("%d keys: the test shows nothing", got)
	}
	a.set("k", "2")
	for range 3 {
		r := b.round("a")
		reply := a.receive("b", r)
		b.do(gossip.Answered{From: "a", Exchange: r.Exchange, Response: reply.Response})
	}
	if b.names("a") != "j k" || a.names("a") != "j k" {
		t.Errorf("b holds %q, a %q", b.names("a"), a.names("a"))
	}
}

// TestRefutedIsNotWithdrawn: who held the owner's keys is not told that one ended when the owner numbers them anew,
// also of those that were set since a key was last removed.
func TestRefutedIsNotWithdrawn(t *testing.T) {
	a, b := newOne(t, "a", "a", "b", "c"), newOne(t, "b", "a", "b", "c")
	a.set("gone", "1")
	a.set("j", "2")
	a.unset("gone")
	a.set("k", "4")
	b.pull(a, "a", "b")
	a.receive("c", &gossip.Request{Exchange: 1, Known: 1_000})
	b.pull(a, "a", "b")
	if ended := effects[gossip.Withdrawn](b); len(ended) > 0 || len(effects[gossip.Changed](b)) != 3 {
		t.Errorf("%v", b.out)
	}
	if !slices.EqualFunc(a.Keys("a"), b.Keys("a"), sameValue) || b.names("a") != "j k" {
		t.Errorf("b holds %v, a %v", b.Keys("a"), a.Keys("a"))
	}
}

// TestRemovedEndsAgreement: who has removed a key says nothing under it.
func TestRemovedEndsAgreement(t *testing.T) {
	a, b := newOne(t, "a", "a", "b"), newOne(t, "b", "a", "b")
	must(t, a.AddCheck(gossip.NewCheck("colour", "colour", func(m core.Message) (string, bool) { return string(m.Data), true })))
	a.set("colour", "red")
	b.set("colour", "red")
	a.pull(b, "b", "a")
	if v, agreed := a.Agreed("colour"); v != "red" || !agreed {
		t.Fatal(v, agreed)
	}
	b.set("other", "x")
	a.pull(b, "b", "a")
	b.unset("other")
	a.pull(b, "b", "a")
	if _, agreed := a.Agreed("colour"); !agreed {
		t.Error("the removal of another key ends the agreement")
	}
	b.unset("colour")
	a.pull(b, "b", "a")
	if _, agreed := a.Agreed("colour"); agreed {
		t.Error("all agree, though one has removed the key")
	}
}

// TestRemovalConverges: removals reach 50 members at 20 % loss as changes do.
func TestRemovalConverges(t *testing.T) {
	w := newWorld(t, 4)
	nodes := cluster(w, 50)
	nodes[0].set("k", text("v"))
	everywhere := func(want bool) func() bool {
		return func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool { return has(n, nodes[0].id, "k", "v") != want })
		}
	}
	w.run(10*gossip.DefaultInterval, everywhere(true))
	w.loss = 0.2
	nodes[0].step(gossip.Unset{Key: "k"})
	began := w.now
	w.run(10*gossip.DefaultInterval, everywhere(false))
	if !everywhere(false)() {
		t.Error("after 10 intervals somebody still has it")
	}
	t.Logf("%.1f intervals", float64(w.now.Sub(began))/float64(gossip.DefaultInterval))
}
