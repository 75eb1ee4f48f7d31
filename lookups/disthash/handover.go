package disthash

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/simbug"
)

// handover is what follows from one view: stop what was lost, ask whom this member inherited from.
type handover struct {
	state   *state
	ctx     context.Context // ends with the next view and with Stop
	cancel  context.CancelCauseFunc
	settled chan struct{} // closed when nothing that was lost runs any more
}

// How long one activation that is being stopped is waited for before others have their turn. It goes
// on stopping; later passes come back to it with more patience.
const (
	firstPatience = 100 * time.Millisecond
	mostPatience  = 2 * time.Second
)

// Back-off between questions to a member that is not settled.
const (
	askFirst = 5 * time.Millisecond
	askMost  = 250 * time.Millisecond
)

const levelDebug = slog.LevelDebug

func errAttr(err error) slog.Attr { return slog.Any("error", err) }

func (l *Lookup) newHandover(s *state) *handover {
	h := &handover{state: s, settled: make(chan struct{})}
	h.ctx, h.cancel = l.life()
	return h
}

// overtake ends h where it is.
func (h *handover) overtake() {
	if h != nil {
		h.cancel(errMoved)
	}
}

// begin starts what follows from s. l.mu is held.
func (l *Lookup) begin(s *state) *handover {
	h := l.newHandover(s)
	l.spawn("disthash.stop", func() { l.sweep(h) })
	ids, _ := s.waiting()
	for _, id := range ids {
		if m, ok := s.now.view.Member(id); ok {
			l.spawn("disthash.ask", func() { l.inherit(h, m) })
		}
	}
	if len(ids) > 0 {
		l.spawn("disthash.limit", func() { l.limit(h) })
	}
	return h
}

// sweep stops what this member does not own, until nothing of it runs or the next view comes.
func (l *Lookup) sweep(h *handover) {
	start, moved, patience := l.env.Clock.Now(), 0, firstPatience
	for {
		losers := h.state.losers(l.self, l.host.Activations())
		if len(losers) == 0 || simbug.On("loser-not-stopped") {
			break
		}
		moved += l.stopAll(h.ctx, losers, core.StopMoved, patience)
		if h.ctx.Err() != nil {
			return
		}
		patience = min(2*patience, mostPatience)
	}
	close(h.settled)
	if moved > 0 {
		l.counted("disthash.moved", moved)
		l.timed("disthash.handover", l.env.Clock.Now().Sub(start))
	}
}

// stopAll stops activations, some at a time, and tells how many have ended. Each is waited for with
// patience.
func (l *Lookup) stopAll(ctx context.Context, as []core.Activation, why core.StopReason, patience time.Duration) int {
	var next, ended atomic.Int64
	var workers sync.WaitGroup
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(as) {
				return
			}
			if l.stopOne(ctx, as[i], why, patience) {
				ended.Add(1)
			}
		}
	}
	for range min(l.cfg.StopParallel, len(as)) - 1 {
		workers.Add(1)
		l.env.Go("disthash.stop", func() {
			defer workers.Done()
			work()
		})
	}
	work()
	workers.Wait()
	return int(ended.Load())
}

func (l *Lookup) stopOne(ctx context.Context, a core.Activation, why core.StopReason, patience time.Duration) bool {
	ctx, done := l.patient(ctx, patience)
	defer done()
	err := l.host.Deactivate(ctx, a.Identity, a.Token, why)
	if err != nil && ctx.Err() == nil {
		l.env.Logger.LogAttrs(ctx, slog.LevelWarn, "could not stop an activation", slog.String("kind", a.Identity.Kind),
			slog.String("key", a.Identity.Key), errAttr(err))
		<-ctx.Done() // no sooner again
	}
	return err == nil
}

// patient is ctx that ends after d too.
func (l *Lookup) patient(ctx context.Context, d time.Duration) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := l.env.Clock.AfterFunc(d, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// inherit asks m until it is settled in the view of h, which it answers when it is; or until the next
// view or the limit. Of the refusals only ErrUnsupported says that m does not know the question: any
// other may come from a member that still runs what moved.
func (l *Lookup) inherit(h *handover, m core.Member) {
	for pause := askFirst; h.ctx.Err() == nil; pause = min(2*pause, askMost) {
		answer, err := l.host.Call(h.ctx, m, core.Message{Type: typeSettledRequest})
		if err == nil && answer.Type == typeSettledResponse {
			l.release(h, m.ID)
			return
		}
		if errors.Is(err, core.ErrUnsupported) {
			l.release(h, m.ID) // it does not know the question, and never will
			return
		}
		if !l.isWaited(h, m.ID) {
			return
		}
		ctx, done := l.patient(h.ctx, pause)
		<-ctx.Done()
		done()
	}
}

// limit gives up those that were waited for long enough.
func (l *Lookup) limit(h *handover) {
	for {
		ids, first := l.state.Load().waiting()
		if len(ids) == 0 || h.ctx.Err() != nil {
			return
		}
		ctx, done := l.patient(h.ctx, max(first.Sub(l.env.Clock.Now()), time.Millisecond))
		<-ctx.Done()
		done()
		late := l.state.Load().overdue(l.env.Clock.Now())
		if len(late) == 0 || !l.release(h, late...) {
			continue
		}
		l.counted("disthash.handover.given_up", len(late))
		l.env.Logger.LogAttrs(h.ctx, slog.LevelWarn, "members did not say in time that they stopped what moved; activations may overlap",
			slog.Any("members", late), slog.Duration("waited", l.cfg.HandoverTimeout))
	}
}

// release waits for ids no longer; false if h was overtaken.
func (l *Lookup) release(h *handover, ids ...core.MemberID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.present != h {
		return false
	}
	l.state.Store(l.state.Load().settled(l.env.Clock.Now(), ids...))
	return true
}

func (l *Lookup) isWaited(h *handover, id core.MemberID) bool {
	_, waited := l.state.Load().waits[id]
	return waited && h.ctx.Err() == nil
}

// drain stops all that runs here, in passes until nothing does or ctx ends.
func (l *Lookup) drain(ctx context.Context, h *handover) error {
	defer h.cancel(core.ErrStopped)
	for patience := firstPatience; ; patience = min(2*patience, mostPatience) {
		active := l.active.Load()
		all := slices.Collect(l.host.Activations())
		if len(all) == 0 && active == 0 {
			close(h.settled)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%d activations still run: %w", len(all), ctx.Err())
		}
		l.stopAll(ctx, all, core.StopLeaving, patience)
		if len(all) == 0 {
			pause, done := l.patient(ctx, time.Millisecond)
			<-pause.Done()
			done()
		}
	}
}

func (l *Lookup) counted(name string, n int) {
	if l.env.Hooks.Counted != nil {
		l.env.Hooks.Counted(name, int64(n))
	}
}

func (l *Lookup) timed(name string, took time.Duration) {
	if l.env.Hooks.Timed != nil {
		l.env.Hooks.Timed(name, took, nil)
	}
}
