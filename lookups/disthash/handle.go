package disthash

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/protos/actorpb"
	"github.com/granary-go/granary/protos/clusterpb"
	"github.com/granary-go/granary/protos/granarypb"
)

// The messages between two lookups.
const (
	typeRequest         = "cluster.ActivationRequest"
	typeResponse        = "cluster.ActivationResponse"
	typeSettledRequest  = "granary.SettledRequest"
	typeSettledResponse = "granary.SettledResponse"
)

const (
	maxMessage = 512 << 10 // bytes of a message of a lookup
	maxPID     = 1024      // bytes of a process ID, and of an address
	recursion  = 64        // levels of nesting
)

// Handle answers the same lookup of another member. A message of a type that it does not know is
// ErrUnsupported, one that it cannot read ErrInvalid.
func (l *Lookup) Handle(ctx context.Context, from core.Member, m core.Message) (core.Message, error) {
	switch m.Type {
	case typeRequest:
		id, err := decodeRequest(m.Data)
		if err != nil {
			return core.Message{}, undelivered(fmt.Errorf("disthash: request of member %q: %w", from.ID, err))
		}
		return l.serve(ctx, id)
	case typeSettledRequest:
		return l.answerSettled(ctx)
	}
	return core.Message{}, undelivered(fmt.Errorf("disthash: message %.80q of member %q: unknown type: %w", m.Type, from.ID, core.ErrUnsupported))
}

// serve activates id, or names the member that this one holds for the owner.
func (l *Lookup) serve(ctx context.Context, id core.Identity) (core.Message, error) {
	s := l.state.Load()
	if s == nil {
		return core.Message{}, errNoView(id)
	}
	owner, ok := s.now.owner(id)
	switch {
	case !ok:
		return core.Message{}, errNoHost(id)
	case owner.ID != l.self:
		return encode(typeResponse, &clusterpb.ActivationResponse{Failed: true, Reason: core.ErrNotOwner.Error(), Redirect: string(owner.ID)})
	case l.stopping.Load():
		return core.Message{}, undelivered(fmt.Errorf("disthash: activate %q: this member is stopping: %w", id, core.ErrNotOwner))
	}
	p, err := l.activate(ctx, id)
	if err != nil {
		return core.Message{}, undelivered(err)
	}
	return encode(typeResponse, &clusterpb.ActivationResponse{Pid: encodePID(p.PID), Token: encodeToken(p.Token)})
}

// answerSettled answers when nothing runs here that this member lost with the installed view.
func (l *Lookup) answerSettled(ctx context.Context) (core.Message, error) {
	l.mu.Lock()
	h := l.present
	l.mu.Unlock()
	if h == nil {
		return core.Message{}, undelivered(core.Retry(fmt.Errorf("disthash: no view is installed yet: %w", core.ErrBusy), retryNoView))
	}
	select {
	case <-h.settled:
		return encode(typeSettledResponse, &granarypb.SettledResponse{})
	default:
	}
	select {
	case <-h.settled:
		return encode(typeSettledResponse, &granarypb.SettledResponse{})
	case <-h.ctx.Done():
	case <-ctx.Done():
	}
	return core.Message{}, undelivered(core.Retry(fmt.Errorf("disthash: this member is not settled yet: %w", core.ErrBusy), retryBusy))
}

// ask has the owner activate id. If it names another member, that one is asked, and no further.
func (l *Lookup) ask(ctx context.Context, s *state, owner core.Member, id core.Identity) (core.Placement, error) {
	request, err := encodeRequest(id, s.now.view, l.cfg.Compat)
	if err != nil {
		return core.Placement{}, err
	}
	p, redirect, err := l.call(ctx, owner, request)
	if err != nil || redirect == "" {
		return p, err
	}
	s = l.state.Load()
	if redirect == l.self {
		return l.activate(ctx, id) // which looks whether it is to run here
	}
	next, there := s.now.view.Member(redirect)
	if !there || redirect == owner.ID {
		return p, fmt.Errorf("disthash: resolve %q: member %q holds %q for the owner, which is not in the view here: %w", id, owner.ID, redirect, core.ErrNotOwner)
	}
	if p, redirect, err = l.call(ctx, next, request); err == nil && redirect != "" {
		err = fmt.Errorf("disthash: resolve %q: member %q holds %q for the owner, and that one %q: %w", id, owner.ID, next.ID, redirect, core.ErrNotOwner)
	}
	return p, err
}

// call asks one member.
func (l *Lookup) call(ctx context.Context, to core.Member, request core.Message) (core.Placement, core.MemberID, error) {
	answer, err := l.host.Call(ctx, to, core.Message{Type: request.Type, Data: append([]byte(nil), request.Data...)})
	if err != nil {
		return core.Placement{}, "", fmt.Errorf("disthash: ask member %q: %w", to.ID, err)
	}
	p, redirect, err := decodeResponse(answer, to)
	if err != nil {
		err = fmt.Errorf("disthash: answer of member %q: %w", to.ID, err)
	}
	return p, redirect, err
}

func encode(name string, m proto.Message) (core.Message, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return core.Message{}, undelivered(fmt.Errorf("disthash: encode %s: %w: %w", name, err, core.ErrInvalid))
	}
	return core.Message{Type: name, Data: data}, nil
}

// decode reads a message of another member: bounded, and unknown fields are not kept.
func decode(data []byte, m proto.Message) error {
	if len(data) > maxMessage {
		return fmt.Errorf("%d bytes, the limit is %d: %w", len(data), maxMessage, core.ErrInvalid)
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: recursion}).Unmarshal(data, m); err != nil {
		return fmt.Errorf("malformed: %w: %w", err, core.ErrInvalid)
	}
	return nil
}

func encodeRequest(id core.Identity, v *core.View, compat bool) (core.Message, error) {
	r := &clusterpb.ActivationRequest{ClusterIdentity: &clusterpb.ClusterIdentity{Identity: id.Key, Kind: id.Kind}}
	if !compat {
		r.View = &granarypb.ViewStamp{Lineage: v.Lineage(), Epoch: v.Epoch(), Hash: v.Hash()}
	}
	return encode(typeRequest, r)
}

func decodeRequest(data []byte) (core.Identity, error) {
	var r clusterpb.ActivationRequest
	if err := decode(data, &r); err != nil {
		return core.Identity{}, err
	}
	if r.ClusterIdentity == nil {
		return core.Identity{}, fmt.Errorf("there is no identity: %w", core.ErrInvalid)
	}
	id := core.Identity{Kind: r.ClusterIdentity.GetKind(), Key: r.ClusterIdentity.GetIdentity()}
	if err := id.Check(); err != nil {
		return core.Identity{}, err
	}
	return id, nil
}

// decodeResponse reads the answer of the member from: a placement, the member to ask instead, or why
// there is neither.
func decodeResponse(m core.Message, from core.Member) (core.Placement, core.MemberID, error) {
	if m.Type != typeResponse {
		return core.Placement{}, "", fmt.Errorf("unknown type %.80q: %w", m.Type, core.ErrInvalid)
	}
	var r clusterpb.ActivationResponse
	if err := decode(m.Data, &r); err != nil {
		return core.Placement{}, "", err
	}
	if r.GetFailed() || r.GetPid() == nil {
		if redirect := r.GetRedirect(); redirect != "" {
			return core.Placement{}, core.MemberID(redirect), nil
		}
		return core.Placement{}, "", refused(r.GetReason(), time.Duration(r.GetRetryAfterMicros())*time.Microsecond)
	}
	pid := core.PID{Address: r.Pid.GetAddress(), ID: r.Pid.GetId(), Member: core.MemberID(r.Pid.GetMember())}
	if pid.Member == "" {
		pid.Member = from.ID // Proto.Actor's PIDs name none
	}
	if pid.Address == "" || pid.ID == "" || len(pid.Address) > maxPID || len(pid.ID) > maxPID || len(pid.Member) > maxPID {
		return core.Placement{}, "", fmt.Errorf("its PID names no process: %w", core.ErrInvalid)
	}
	return core.Placement{PID: pid, Token: core.Token{Epoch: r.GetToken().GetEpoch(), Seq: r.GetToken().GetSeq()}}, "", nil
}

// refused is the error that a reason names. A member of Proto.Actor gives none; it is asked again.
func refused(reason string, after time.Duration) error {
	i := slices.IndexFunc(refusals, func(s error) bool { return s.Error() == reason })
	if i < 0 {
		return core.Retry(fmt.Errorf("there is no activation: %w", core.ErrBusy), max(after, retryBusy))
	}
	err := fmt.Errorf("there is no activation: %w", refusals[i])
	if after > 0 {
		err = core.Retry(err, after)
	}
	return err
}

func encodePID(p core.PID) *actorpb.PID {
	return &actorpb.PID{Address: p.Address, Id: p.ID, Member: string(p.Member)}
}

func encodeToken(t core.Token) *granarypb.Token {
	if t.IsZero() {
		return nil
	}
	return &granarypb.Token{Epoch: t.Epoch, Seq: t.Seq}
}
