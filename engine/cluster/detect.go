package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/engine/actor"
	"github.com/granary-go/granary/engine/cluster/internal/wireform"
	"github.com/granary-go/granary/engine/internal/convert"
	"github.com/granary-go/granary/engine/internal/detector"
	"github.com/granary-go/granary/engine/internal/gossip"
	"github.com/granary-go/granary/engine/internal/membership"
	"github.com/granary-go/granary/engine/remote"
)

// processProbe answers whatever comes, so that its member is heard.
const processProbe = "$probe"

// messageProbe is what is sent there.
const messageProbe = "granary.Probe"

// swapTimeout bounds one write to the provider's view.
const swapTimeout = 5 * time.Second

// suspicion is what the detector has found out, as other goroutines read it.
type suspicion struct {
	mu       sync.RWMutex
	suspects map[core.MemberID]bool
	sick     atomic.Bool
	swapping atomic.Bool // a write to the provider's view is under way
}

// suspected reports whether id is suspected to be dead. It does not block.
func (n *Node) suspected(id core.MemberID) bool {
	n.suspicion.mu.RLock()
	defer n.suspicion.mu.RUnlock()
	return n.suspicion.suspects[id]
}

// set notes whether id is a suspect.
func (s *suspicion) set(id core.MemberID, suspect bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !suspect:
		delete(s.suspects, id)
	case s.suspects == nil:
		s.suspects = map[core.MemberID]bool{id: true}
	default:
		s.suspects[id] = true
	}
}

// keep forgets the suspects that v does not list.
func (s *suspicion) keep(v *core.View) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.suspects, func(id core.MemberID, _ bool) bool {
		_, listed := v.Member(id)
		return !listed
	})
}

// list lists the suspects in ascending order.
func (s *suspicion) list() []core.MemberID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.suspects))
}

// detectorConfig is what the detector judges by.
func (n *Node) detectorConfig() detector.Config {
	cfg := detector.Config{Self: n.ownID(), Probe: n.cfg.ProbeInterval, Misses: n.cfg.ProbeMisses, Store: n.store != nil}
	if l, ok := n.parts.Provider.(core.MemberLeases); ok {
		cfg.TTL = l.LeaseTTL()
	}
	return cfg
}

// viewStore is where votes and evictions are written; nil: the provider judges alone.
func (p Components) viewStore() core.ViewStore {
	store, ok := p.Provider.(core.ViewStore)
	if !ok || !p.Provider.Promises().Ordered {
		return nil
	}
	return store
}

// heardOf says that another member has heard the heartbeat of id lately.
func (n *Node) heardOf(id core.MemberID) { n.post(detector.Relayed{ID: id}) }

// refusedBy says that nobody listens for m at its address any more.
func (n *Node) refusedBy(m core.Member) {
	_, ever := n.remote.LastHeard(m.ID)
	n.post(detector.Refused{ID: m.ID, Ever: ever})
}

// remoteObserver hears of the links to members.
func (n *Node) remoteObserver() remote.Observer {
	return remote.Observer{
		Connected:  func(m core.Member) { n.notice(membership.EndpointUp{ID: m.ID}) },
		Terminated: func(m core.Member, _ error) { n.notice(membership.EndpointDown{ID: m.ID}) },
		Absent:     n.refusedBy,
		Refused: func(m core.Member, err *remote.RefusedError) {
			if err.Reason == remote.RefusedMember { // another process has its address
				n.refusedBy(m)
			}
		},
	}
}

// round ends a round of the detector: who has sent anything during it was heard.
func (o *owner) round(now time.Time) {
	began, view := o.begun, o.reducer.View()
	o.begun = now
	for m := range view.All() {
		ago, ok := o.n.remote.LastHeard(m.ID)
		if at := now.Add(-ago); ok && !at.Before(began) && at.After(o.refused[m.ID]) { // before nobody listened any more it proves nothing
			delete(o.refused, m.ID)
			o.detect(detector.Heard{ID: m.ID})
		}
	}
	maps.DeleteFunc(o.refused, func(id core.MemberID, _ time.Time) bool { _, listed := view.Member(id); return !listed })
	o.detect(detector.Tick{})
}

// detect hands in to the detector and does what it says.
func (o *owner) detect(in detector.Input) {
	effects := o.detector.Step(o.n.clock.Now(), in, nil)
	write := false
	for _, e := range effects {
		switch e.Type {
		case detector.Probe:
			o.n.probe(e.ID)
		case detector.Suspect, detector.Clear:
			o.doubt(e)
		case detector.Vote, detector.Withdraw, detector.Evict:
			o.n.log.LogAttrs(o.n.base, slog.LevelInfo, "cluster: to be written to the view", slog.String("what", e.Type.String()), slog.String("peer", string(e.ID)))
			write = true
		default:
			o.n.aboutSelf(e.Type)
		}
	}
	if write {
		o.write(effects)
	}
}

// doubt makes or clears a suspect: nothing new is placed there, and where its grains are is asked anew.
func (o *owner) doubt(e detector.Effect) {
	o.n.suspicion.set(e.ID, e.Type == detector.Suspect)
	if e.Type == detector.Suspect {
		o.n.log.Warn("cluster: a member is suspected to be dead", "peer", e.ID)
		o.n.cache.Forget(e.ID)
		o.n.notice(membership.Suspected{ID: e.ID})
		return
	}
	o.n.log.Info("cluster: a member is suspected no more", "peer", e.ID)
	o.n.notice(membership.Cleared{ID: e.ID})
}

// aboutSelf tells what the detector found out about this member.
func (n *Node) aboutSelf(t detector.Type) {
	switch t {
	case detector.Sick:
		n.suspicion.sick.Store(true)
		n.log.Warn("cluster: this member's timers are late; it is not ready")
		n.notice(membership.Self{What: membership.SelfSick})
	case detector.Well:
		n.suspicion.sick.Store(false)
		n.log.Info("cluster: this member's timers are in time again")
		n.notice(membership.Self{What: membership.SelfWell})
	case detector.Accused:
		n.log.Warn("cluster: others vote to evict this member")
		n.notice(membership.Self{What: membership.SelfAccused, Reason: "others vote to evict this member"})
	case detector.Absolved:
		n.log.Info("cluster: nobody votes to evict this member any more")
		n.notice(membership.Self{What: membership.SelfAbsolved})
	}
}

// write has the provider store votes and evictions, one write at a time. What is not stored is asked for
// again in the next round.
func (o *owner) write(effects []detector.Effect) {
	n, view := o.n, o.reducer.View()
	next, changed := detector.Edit(view, n.id, effects)
	if !changed || n.suspicion.swapping.Swap(true) {
		return
	}
	n.group.Go("swap view", func() {
		defer n.suspicion.swapping.Store(false)
		ctx, cancel := n.withTimeout(n.base, swapTimeout)
		defer cancel()
		var stored *core.View
		err := n.protect("the provider's SwapView", func() (err error) {
			stored, err = n.store.SwapView(ctx, view, next)
			return err
		})
		if err != nil && !errors.Is(err, core.ErrConflict) {
			n.log.Warn("cluster: the provider did not store a vote", "error", err)
		}
		if stored != nil { // in a conflict the present view, by which to judge anew
			n.post(stored)
		}
	})
}

// probe sends id something that it answers. Its answer is a frame, by which it is heard, and nothing more. A
// client asks for state, and for nothing of it: clients may send no other question.
func (n *Node) probe(id core.MemberID) {
	m, ok := n.View().Member(id)
	if !ok {
		return
	}
	to, probe := processProbe, any(&wireform.Envelope{Type: wireform.TypeProcess, Message: core.Message{Type: messageProbe}})
	if n.cfg.Client {
		to, probe = processGossip, gossipRequest{id, &gossip.Request{}, true}
	}
	ref := n.sys.Ref(core.PID{Address: m.Address, ID: to, Member: id})
	_ = ref.Send(actor.Envelope{Message: probe, Reply: nobody{}}) // whoever cannot be reached is not heard
}

// nobody waits for no answer.
type nobody struct{}

// Reply drops the answer.
func (nobody) Reply(uint64, any, error) {}

// prober is the process $probe: it answers at once, on the goroutine that reads from the peer.
type prober struct{}

// Send answers.
func (prober) Send(_ core.PID, e actor.Envelope) error {
	reply(e, &wireform.Envelope{Type: wireform.TypeProcessAnswer, Message: core.Message{Type: messageProbe}}, nil)
	return nil
}

// SendSystem refuses: $probe is neither watched nor stopped.
func (prober) SendSystem(target core.PID, _ actor.SystemMessage) error {
	return &actor.DeadLetterError{Target: target}
}

var (
	_ actor.Process = prober{}
	_ actor.Replier = nobody{}
)

// MaxBan is the longest time for which Block refuses a member.
const MaxBan = membership.MaxBan

// MaxBans is how many members one member may have blocked at a time.
const MaxBans = gossip.MaxBlocked

// Block refuses all traffic of the member id, here at once, and at all other members when gossip has told
// them, within a few of its intervals. It is for operators: a member that does harm is put out until
// somebody has looked at it. It does not stop the process, it takes nothing from a provider without order
// but leaves the member out of views; where the provider keeps the view in one record, the member is
// evicted from it, and stops. Other starts of that process have other IDs and are not blocked.
//
// It ends by itself after d, MaxBan at most; 0 means an hour. A call for one that is blocked already can
// only make it longer. It returns at once. Errors: core.ErrInvalid (no ID, the own one, or a time out of
// range), core.ErrOverloaded (MaxBans are in force), core.ErrStopped (before Start or after Stop),
// core.ErrUnsupported (a client).
func (n *Node) Block(id core.MemberID, d time.Duration, reason string) error {
	switch {
	case n.cfg.Client:
		return fmt.Errorf("cluster: block %s: a client blocks nobody: %w", id, core.ErrUnsupported)
	case id == "" || id == n.id:
		return fmt.Errorf("cluster: block %q: want the ID of another member: %w", id, core.ErrInvalid)
	case d < 0 || d > MaxBan:
		return fmt.Errorf("cluster: block %s for %v: want 0 to %v: %w", id, d, MaxBan, core.ErrInvalid)
	case !n.watching():
		return fmt.Errorf("cluster: block %s: the node is not running: %w", id, core.ErrStopped)
	}
	if n.views.bans.Add(1) > MaxBans { // the owner corrects the number after each ban
		n.views.bans.Add(-1)
		return fmt.Errorf("cluster: block %s: %d members are blocked already; wait until a ban ends: %w", id, MaxBans, core.ErrOverloaded)
	}
	if !n.post(membership.Ban{ID: id, For: d, Reason: reason}) {
		n.views.bans.Add(-1)
		return fmt.Errorf("cluster: block %s: %d things wait already: %w", id, maxHappened, core.ErrOverloaded)
	}
	return nil
}

// Unblock ends what Block has begun on this member, before its time; of one that it has not blocked, nothing is
// said, nor an error returned. The others hear of it by gossip, within a few intervals, and let the member in
// again, each unless another member has blocked it as well. Where the provider keeps the view in one record the
// blocked are soon evicted from it: that is for good, and Unblock only keeps it from happening.
//
// It ends no ban that another member has said: unblock on that one, or wait; a ban whose member has gone ends
// at its time. It returns at once. Errors: core.ErrConflict (others have blocked it too, who are named; the own
// ban has ended all the same), core.ErrOverloaded, core.ErrStopped, core.ErrUnsupported (a client).
func (n *Node) Unblock(ids ...core.MemberID) error {
	switch {
	case n.cfg.Client:
		return fmt.Errorf("cluster: unblock: a client blocks nobody: %w", core.ErrUnsupported)
	case !n.watching():
		return fmt.Errorf("cluster: unblock: the node is not running: %w", core.ErrStopped)
	}
	var errs []error
	for _, id := range ids {
		if !n.post(membership.Unban{ID: id}) {
			errs = append(errs, fmt.Errorf("cluster: unblock %s: %d things wait already: %w", id, maxHappened, core.ErrOverloaded))
		}
	}
	for _, b := range n.Blocked() {
		others := slices.DeleteFunc(b.By, func(by core.MemberID) bool { return by == n.id })
		if slices.Contains(ids, b.ID) && len(others) > 0 {
			errs = append(errs, fmt.Errorf("cluster: unblock %s: it is blocked by %s too, for at most %v; unblock it there: %w", b.ID, others, b.For, core.ErrConflict))
		}
	}
	return errors.Join(errs...)
}

// BlockedMember is a member whose traffic is refused here.
type BlockedMember struct {
	ID     core.MemberID
	For    time.Duration   // what is left of it, unless somebody makes it longer
	By     []core.MemberID // who has said so, in ascending order
	Reason string
}

// Blocked lists whom this member refuses since somebody has blocked them, in ascending order of ID: by Block
// here or, as gossip has told, elsewhere. It does not block.
func (n *Node) Blocked() (out []BlockedMember) {
	now := n.clock.Now()
	for _, s := range *n.views.standing.Load() {
		b := BlockedMember{ID: s.ID, For: s.Until.Sub(now), By: slices.Clone(s.From), Reason: s.Reason}
		if s.Own {
			b.By = append(b.By, n.id)
			slices.Sort(b.By)
		}
		if b.For > 0 {
			out = append(out, b)
		}
	}
	return out
}

// watching reports whether the owner of the membership runs.
func (n *Node) watching() bool {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	return n.life.watching
}

func (n *Node) watch(on bool) {
	n.life.mu.Lock()
	defer n.life.mu.Unlock()
	n.life.watching = on
}

// learnedBans takes what another member says of whom it has blocked.
func (n *Node) learnedBans(from core.MemberID, bans []gossip.Blocked) {
	told := membership.Told{From: from}
	for _, b := range bans {
		told.IDs = append(told.IDs, b.ID)
		if b.Remaining > 0 {
			n.post(membership.Ban{ID: b.ID, For: b.Remaining, From: from, Reason: fmt.Sprintf("blocked by member %s", from)})
		}
	}
	n.post(told)
}

// sayBans tells gossip of this member's own bans.
func (o *owner) sayBans(now time.Time) {
	bans := o.reducer.Bans(now)
	o.n.views.bans.Store(int32(len(bans)))
	o.n.gossip.ownBans(bans)
}

// loads is what the members of the view have last said of their activations. Safe for concurrent use.
type loads struct {
	n  *Node
	mu sync.RWMutex
	by map[core.MemberID]gossip.Heartbeat // never modified once in here
}

func (l *loads) init(n *Node) { l.n, l.by = n, map[core.MemberID]gossip.Heartbeat{} }

// note takes what a member says; what cannot be read says nothing.
func (l *loads) note(member core.MemberID, value core.Message) {
	h, err := convert.HeartbeatFromMessage(value)
	if err != nil {
		l.forget(member)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by[member] = h
}

func (l *loads) forget(member core.MemberID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, member)
}

func (l *loads) of(member core.MemberID) gossip.Heartbeat {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.by[member]
}

// Load is how many activations of kind the member has: its own count of this moment, of others as they
// last said. It does not allocate.
func (g *gossiper) Load(member core.MemberID, kind string) (activations int64, ok bool) {
	if member == g.n.id {
		k := g.n.kinds[kind]
		if k == nil {
			return 0, false
		}
		return k.live.Load(), true
	}
	counts := g.loads.of(member).Activations
	i, ok := slices.BinarySearchFunc(counts, kind, func(c gossip.KindCount, kind string) int { return strings.Compare(c.Kind, kind) })
	if !ok {
		return 0, false
	}
	return counts[i].Count, true
}

var _ core.Loads = (*gossiper)(nil)
