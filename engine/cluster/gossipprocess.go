package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/grain"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/remote"
)

// processGossip is where gossip of other members arrives.
const processGossip = "gossip"

// The requests that wait for their turn here are bounded. Those of clients have a bound of their own, so that
// no client keeps members from talking to each other.
const (
	maxGossipQueued  = 1_024
	maxQueriesQueued = 256
)

// gossipProcess is the raw process that takes requests of gossip.
type gossipProcess struct {
	g       *gossiper
	queued  atomic.Int64 // of members
	queries atomic.Int64 // of clients
}

// Send takes one request.
func (p *gossipProcess) Send(_ core.PID, e actor.Envelope) error {
	in, ok := e.Message.(*remote.Inbound)
	if !ok || in.From == nil {
		p.g.countRefused(1)
		return refuse(grain.Unimplemented, fmt.Errorf("cluster: %s takes messages of peers only: %w", processGossip, core.ErrUnsupported))
	}
	r, err := readGossip(in)
	if err != nil {
		p.g.countRefused(1)
		return refuse(grain.InvalidArgument, err)
	}
	in.Release()
	waiting, most := &p.queued, int64(maxGossipQueued)
	if in.From.Client {
		waiting, most = &p.queries, maxQueriesQueued
	}
	if waiting.Add(1) > most {
		waiting.Add(-1)
		return core.WithDelivery(core.Retry(fmt.Errorf("cluster: %d requests of gossip wait already: %w", most, core.ErrOverloaded), retryLimit), core.Undelivered)
	}
	taken := p.g.post(func() {
		waiting.Add(-1)
		p.g.received(in.From, r, e)
	})
	if !taken {
		return core.WithDelivery(fmt.Errorf("cluster: gossip: the member stops: %w", core.ErrStopped), core.Undelivered)
	}
	return nil
}

// readGossip is the request of a member or the query of a client. Neither may send what the other does.
func readGossip(in *remote.Inbound) (*gossip.Request, error) {
	switch {
	case in.Type == convert.TypeGossipRequest && !in.From.Client:
		return convert.GossipRequestFromWire(in.Data)
	case in.Type == convert.TypeStateQuery && in.From.Client:
		return convert.StateQueryFromWire(in.Data)
	}
	return nil, fmt.Errorf("cluster: %s takes %s from members and %s from clients: %w", processGossip, convert.TypeGossipRequest, convert.TypeStateQuery, core.ErrUnsupported)
}

// SendSystem refuses: a process of the engine is neither watched nor stopped.
func (p *gossipProcess) SendSystem(target core.PID, _ actor.SystemMessage) error {
	return &actor.DeadLetterError{Target: target}
}

// received takes one request and answers it.
func (g *gossiper) received(from *remote.Peer, r *gossip.Request, e actor.Envelope) {
	if from.Client {
		if err := g.readers.admit(g, from.Member.ID); err != nil {
			g.countRefused(1)
			reply(e, nil, refuseGossip(err))
			return
		}
	}
	g.asked = e
	g.step(gossip.Received{From: from.Member.ID, Request: r})
	g.asked = actor.Envelope{}
}

// answerGossip is the Reply of a step that was caused by e.
func answerGossip(e actor.Envelope, a gossip.Reply) {
	if a.Err != nil {
		reply(e, nil, refuseGossip(a.Err))
		return
	}
	reply(e, gossipResponse{a.Response}, nil)
}

func refuseGossip(err error) error {
	return refuse(grain.InvalidArgument, fmt.Errorf("cluster: gossip: %w", err))
}

// send asks a member; what comes of it comes back as an input.
func (g *gossiper) send(to core.MemberID, r *gossip.Request) {
	m, there := g.members[to]
	if !there {
		g.post(func() { g.step(gossip.Failed{To: to, Exchange: r.Exchange}) })
		return
	}
	limit := g.machine.Config().Timeout
	g.n.group.Go("gossip exchange", func() {
		answer, err := g.exchange(m, r, limit)
		g.post(func() {
			if err != nil {
				g.step(gossip.Failed{To: to, Exchange: r.Exchange})
				return
			}
			g.step(gossip.Answered{From: to, Exchange: r.Exchange, Response: answer})
		})
	})
}

// exchange sends one request and waits for its answer.
func (g *gossiper) exchange(to core.Member, r *gossip.Request, limit time.Duration) (*gossip.Response, error) {
	ctx, cancel := g.n.withTimeout(g.n.base, limit)
	defer cancel()
	ask := g.n.sys.NewAsk()
	ref := g.n.sys.Ref(core.PID{Address: to.Address, ID: processGossip, Member: to.ID})
	if err := ref.Send(actor.Envelope{Message: gossipRequest{to.ID, r, g.n.cfg.Client}, Reply: g.n.sys, ReplyID: ask.ID()}); err != nil {
		ask.Cancel()
		return nil, err
	}
	answer, err := ask.WaitRaw(ctx)
	if err != nil {
		return nil, err
	}
	in, ok := answer.(*remote.Inbound)
	if !ok || in.Type != convert.TypeGossipResponse {
		return nil, errGossipAnswer
	}
	return convert.GossipResponseFromWire(in.Data)
}

var errGossipAnswer = errors.New("the answer is none of gossip")

// gossipRequest and gossipResponse write themselves into the frame.
type gossipRequest struct {
	to     core.MemberID
	r      *gossip.Request
	client bool // it is sent by one, as a query
}

// WireType is the full name of the message.
func (m gossipRequest) WireType() string {
	if m.client {
		return convert.TypeStateQuery
	}
	return convert.TypeGossipRequest
}

// AppendWire appends the message.
func (m gossipRequest) AppendWire(b []byte) ([]byte, error) {
	if m.client {
		return convert.AppendStateQuery(b, m.r), nil
	}
	return convert.AppendGossipRequest(b, m.to, m.r), nil
}

type gossipResponse struct{ r *gossip.Response }

// WireType is the full name of the message.
func (gossipResponse) WireType() string { return convert.TypeGossipResponse }

// AppendWire appends the message.
func (m gossipResponse) AppendWire(b []byte) ([]byte, error) {
	return convert.AppendGossipResponse(b, m.r), nil
}

// Clients that ask for state are remembered, so that each is told only what is new to it.
const (
	maxGossipClients = 4_096            // of one member; more are refused as overloaded
	clientForgotten  = 30 * time.Second // without a question
)

// readers is who has asked of late; it belongs to the owner of gossip.
type readers struct {
	asked map[core.MemberID]time.Time
}

// admit lets a client's question through, which brings nothing: StateQueryFromWire has seen to that.
func (c *readers) admit(g *gossiper, id core.MemberID) error {
	if _, member := g.members[id]; member || id == g.n.id {
		return fmt.Errorf("client %q has the ID of a member: %w", id, gossip.ErrForeign)
	}
	_, known := c.asked[id]
	if !known && len(c.asked) >= maxGossipClients {
		return core.Retry(fmt.Errorf("%d clients ask already: %w", maxGossipClients, core.ErrOverloaded), retryLimit)
	}
	if c.asked == nil {
		c.asked = map[core.MemberID]time.Time{}
	}
	c.asked[id] = g.clock.Now()
	if !known {
		c.tell(g)
	}
	return nil
}

// prune forgets those that ask no more.
func (c *readers) prune(g *gossiper) {
	before, now := len(c.asked), g.clock.Now()
	maps.DeleteFunc(c.asked, func(_ core.MemberID, at time.Time) bool { return now.Sub(at) > clientForgotten })
	if len(c.asked) != before {
		c.tell(g)
	}
}

func (c *readers) tell(g *gossiper) {
	g.step(gossip.Clients{IDs: slices.Sorted(maps.Keys(c.asked))})
}

// GossipStats are the sizes of what gossip holds on a node, and counts since its start.
type GossipStats struct {
	Members int // of whom something may be known
	Keys    int // of all members
	Bytes   int // of all values
	Peers   int // with whom it talks, clients that read here among them
	Blocked int // of whom nothing is believed
	Clients int // that have read here of late

	Rounds  uint64
	Sent    uint64 // questions
	Acked   uint64 // of them, answered in time
	Lost    uint64 // of them, not
	Merged  uint64 // values that were taken from others
	Refused uint64 // values, messages and settings that were not
}

// GossipStats tells how gossip goes, as of its last round.
func (n *Node) GossipStats() GossipStats {
	s := GossipStats{Refused: n.gossip.refusals.Load()}
	if p := n.gossip.stats.Load(); p != nil {
		refused := s.Refused
		s = *p
		s.Refused = refused
	}
	return s
}

// measure keeps what GossipStats tells.
func (g *gossiper) measure() {
	g.rounds++
	m := g.machine.Stats()
	g.stats.Store(&GossipStats{
		Members: m.Members, Keys: m.Keys, Bytes: m.Bytes, Peers: m.Peers, Blocked: m.Blocked, Clients: len(g.readers.asked),
		Rounds: g.rounds, Sent: m.Sent, Acked: m.Acked, Lost: m.Lost, Merged: m.Merged,
	})
}
