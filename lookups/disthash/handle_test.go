package disthash

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
)

func mustRequest(t testing.TB, id core.Identity) core.Message {
	t.Helper()
	m, err := encodeRequest(id, view(t, members(2)...), false)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRequestForm(t *testing.T) {
	v := view(t, members(2)...)
	id := core.Identity{Kind: "Cart@2", Key: "a/b"}
	for _, compat := range []bool{false, true} {
		m, err := encodeRequest(id, v, compat)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decodeRequest(m.Data); err != nil || back != id {
			t.Errorf("came back as %v, %v", back, err)
		}
		var r clusterpb.ActivationRequest
		if err := proto.Unmarshal(m.Data, &r); err != nil {
			t.Fatal(err)
		}
		if stamped := r.GetView().GetHash() == v.Hash(); stamped == compat || r.GetRequestId() != "" || r.GetTopologyHash() != 0 {
			t.Errorf("compat %v: %v", compat, &r)
		}
	}
}

func TestHandleRefuses(t *testing.T) {
	c, hosts := running(t, 1, 0, Config{})
	defer c.stop()
	big, err := proto.Marshal(&clusterpb.ActivationRequest{RequestId: strings.Repeat("x", maxMessage)})
	if err != nil {
		t.Fatal(err)
	}
	request := func(kind, key string) []byte {
		b, err := proto.Marshal(&clusterpb.ActivationRequest{ClusterIdentity: &clusterpb.ClusterIdentity{Kind: kind, Identity: key}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tc := range map[string]struct {
		m    core.Message
		want error
	}{
		"no type":         {core.Message{}, core.ErrUnsupported},
		"unknown type":    {core.Message{Type: "cluster.Activation"}, core.ErrUnsupported},
		"long type":       {core.Message{Type: strings.Repeat("x", 1<<20)}, core.ErrUnsupported},
		"a response":      {core.Message{Type: typeResponse}, core.ErrUnsupported},
		"settled, answer": {core.Message{Type: typeSettledResponse}, core.ErrUnsupported},
		"no identity":     {core.Message{Type: typeRequest}, core.ErrInvalid},
		"garbage":         {core.Message{Type: typeRequest, Data: []byte{0xff, 0xff, 0xff}}, core.ErrInvalid},
		"too long":        {core.Message{Type: typeRequest, Data: big}, core.ErrInvalid},
		"empty kind":      {core.Message{Type: typeRequest, Data: request("", "k")}, core.ErrInvalid},
		"empty key":       {core.Message{Type: typeRequest, Data: request("Cart", "")}, core.ErrInvalid},
		"slash in kind":   {core.Message{Type: typeRequest, Data: request("a/b", "k")}, core.ErrInvalid},
		"newline in key":  {core.Message{Type: typeRequest, Data: request("Cart", "a\nb")}, core.ErrInvalid},
		"key of 257":      {core.Message{Type: typeRequest, Data: request("Cart", strings.Repeat("k", 257))}, core.ErrInvalid},
		"kind of 129":     {core.Message{Type: typeRequest, Data: request(strings.Repeat("k", 129), "k")}, core.ErrInvalid},
	} {
		_, err := hosts[0].lookup.Handle(t.Context(), member(1), tc.m)
		if !errors.Is(err, tc.want) || core.DeliveryOf(err) != core.Undelivered || len(err.Error()) > 500 {
			t.Errorf("%s: %.200v (%v)", name, err, core.DeliveryOf(err))
		}
	}
	if _, err := hosts[0].lookup.Handle(t.Context(), member(1), core.Message{Type: typeRequest, Data: request("Nobody", "k")}); !errors.Is(err, core.ErrNoMember) {
		t.Errorf("a kind that nobody hosts: %v", err)
	}
	hosts[0].refuse = core.Retry(core.ErrOverloaded, time.Second)
	_, err = hosts[0].lookup.Handle(t.Context(), member(1), mustRequest(t, identity(1)))
	if after, _ := core.RetryAfter(err); !errors.Is(err, core.ErrOverloaded) || after != time.Second || core.DeliveryOf(err) != core.Undelivered {
		t.Errorf("a refusal of the host: %v", err)
	}
}

func TestResponses(t *testing.T) {
	from := member(1, "Cart")
	encoded := func(r *clusterpb.ActivationResponse) core.Message {
		m, err := encode(typeResponse, r)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	t.Run("placement", func(t *testing.T) {
		p, redirect, err := decodeResponse(encoded(&clusterpb.ActivationResponse{Pid: &actorpb.PID{Address: "h:1", Id: "g/1"}, Token: encodeToken(core.Token{Epoch: 3, Seq: 4})}), from)
		if want := (core.Placement{PID: core.PID{Address: "h:1", ID: "g/1", Member: from.ID}, Token: core.Token{Epoch: 3, Seq: 4}}); err != nil || redirect != "" || p != want {
			t.Errorf("%+v, %q, %v", p, redirect, err)
		}
	})
	for name, tc := range map[string]struct {
		m    core.Message
		want error
	}{
		"another type":     {core.Message{Type: typeRequest}, core.ErrInvalid},
		"garbage":          {core.Message{Type: typeResponse, Data: []byte{0xff}}, core.ErrInvalid},
		"no address":       {encoded(&clusterpb.ActivationResponse{Pid: &actorpb.PID{Id: "g/1"}}), core.ErrInvalid},
		"no process":       {encoded(&clusterpb.ActivationResponse{Pid: &actorpb.PID{Address: "h:1"}}), core.ErrInvalid},
		"long process":     {encoded(&clusterpb.ActivationResponse{Pid: &actorpb.PID{Address: "h:1", Id: strings.Repeat("x", maxPID+1)}}), core.ErrInvalid},
		"empty":            {encoded(&clusterpb.ActivationResponse{}), core.ErrBusy},
		"failed":           {encoded(&clusterpb.ActivationResponse{Failed: true}), core.ErrBusy},
		"failed, busy":     {encoded(&clusterpb.ActivationResponse{Failed: true, Reason: "busy"}), core.ErrBusy},
		"failed, no kind":  {encoded(&clusterpb.ActivationResponse{Failed: true, Reason: "unknown kind"}), core.ErrNoKind},
		"failed, whatever": {encoded(&clusterpb.ActivationResponse{Failed: true, Reason: "the moon"}), core.ErrBusy},
	} {
		if p, redirect, err := decodeResponse(tc.m, from); !errors.Is(err, tc.want) || redirect != "" || p != (core.Placement{}) {
			t.Errorf("%s: %+v, %q, %v", name, p, redirect, err)
		}
	}
	if _, _, err := decodeResponse(encoded(&clusterpb.ActivationResponse{Failed: true, Reason: "overloaded", RetryAfterMicros: 7}), from); err != nil {
		if after, _ := core.RetryAfter(err); after != 7*time.Microsecond {
			t.Errorf("retry after %v", after)
		}
	}
}

// scripted answers calls as told, and activates.
type scripted struct {
	*fakeHost
	answer func(to core.MemberID, call int) (core.Message, error)
	calls  []core.MemberID
}

func (s *scripted) Call(_ context.Context, to core.Member, _ core.Message) (core.Message, error) {
	s.calls = append(s.calls, to.ID)
	return s.answer(to.ID, len(s.calls))
}

func TestRedirects(t *testing.T) {
	const n = 4
	redirect := func(to core.MemberID) (core.Message, error) {
		return encode(typeResponse, &clusterpb.ActivationResponse{Failed: true, Reason: core.ErrNotOwner.Error(), Redirect: string(to)})
	}
	placed := func(at core.MemberID) (core.Message, error) {
		return encode(typeResponse, &clusterpb.ActivationResponse{Pid: &actorpb.PID{Address: "h:1", Id: "g/1", Member: string(at)}})
	}
	for name, tc := range map[string]struct {
		answer func(owner, to core.MemberID, call int) (core.Message, error)
		calls  int
		want   error
	}{
		"followed once": {func(owner, to core.MemberID, call int) (core.Message, error) {
			if to == owner {
				return redirect(other(owner))
			}
			return placed(to)
		}, 2, nil},
		"not twice": {func(owner, to core.MemberID, call int) (core.Message, error) {
			if to == owner {
				return redirect(other(owner))
			}
			return redirect(owner)
		}, 2, core.ErrNotOwner},
		"to nobody known":                      {func(owner, to core.MemberID, call int) (core.Message, error) { return redirect("stranger") }, 1, core.ErrNotOwner},
		"to itself":                            {func(owner, to core.MemberID, call int) (core.Message, error) { return redirect(to) }, 1, core.ErrNotOwner},
		"to the asker, which is not the owner": {func(owner, to core.MemberID, call int) (core.Message, error) { return redirect("member-0") }, 1, core.ErrBusy},
		"no answer": {func(owner, to core.MemberID, call int) (core.Message, error) {
			return core.Message{}, core.WithDelivery(context.DeadlineExceeded, core.DeliveryUnknown)
		}, 1, core.ErrUnreachable},
		"nonsense": {func(owner, to core.MemberID, call int) (core.Message, error) { return core.Message{Type: "x.Y"}, nil }, 1, core.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := New(Config{})
			if err != nil {
				t.Fatal(err)
			}
			h := &fakeHost{c: newFakeCluster(t), lookup: l, self: member(0, "Cart"), activations: map[core.Identity]*fakeActivation{}, counts: map[string]int64{}}
			s := &scripted{fakeHost: h}
			if err := l.Start(t.Context(), s, h.env()); err != nil {
				t.Fatal(err)
			}
			v := view(t, members(n)...)
			if err := l.Reshape(core.Diff(nil, v)); err != nil {
				t.Fatal(err)
			}
			id := identity(0)
			for i := 1; l.state.Load().now.owns("member-0", id); i++ {
				id = identity(i)
			}
			owner, _ := l.Owner(id)
			s.answer = func(to core.MemberID, call int) (core.Message, error) { return tc.answer(owner.ID, to, call) }
			p, err := l.Resolve(t.Context(), id)
			if !errors.Is(err, tc.want) || len(s.calls) != tc.calls {
				t.Errorf("%+v, %v after calls of %v", p, err, s.calls)
			}
			if err != nil && core.DeliveryOf(err) != core.Undelivered {
				t.Errorf("delivery %v", core.DeliveryOf(err))
			}
			if err := l.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// other is a member beside the owner and member-0.
func other(owner core.MemberID) core.MemberID {
	if owner == "member-1" {
		return "member-2"
	}
	return "member-1"
}
