package remote

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
)

// quiet lets a few lines a second into the log, since a peer decides how often they are due.
type quiet struct {
	mu    sync.Mutex
	began time.Time
	n     int
}

const quietLines = 5

func (q *quiet) allow(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.began) >= time.Second {
		q.began, q.n = now, 0
	}
	q.n++
	return q.n <= quietLines
}

// turnedAway notes a connection that was not let in.
func (r *Remote) turnedAway(address string, err error) {
	r.count("remote.turned_away")
	if r.quiet.allow(r.clock.Now()) {
		r.log.LogAttrs(r.root, slog.LevelWarn, "remote: connection refused", slog.String("address", address), attrError(err))
	}
}

func (r *Remote) count(name string) {
	if f := r.cfg.Env.Hooks.Counted; f != nil {
		f(name, 1)
	}
}

// levelOf is how loud the end of a link is: those that are meant are quiet.
func levelOf(reason error) slog.Level {
	for _, meant := range []error{errDisconnected, errReplaced, errLeft, errStopping} {
		if errors.Is(reason, meant) {
			return slog.LevelDebug
		}
	}
	return slog.LevelInfo
}

func attrMember(id core.MemberID) slog.Attr { return slog.String("member", string(id)) }
func attrEpoch(epoch uint64) slog.Attr      { return slog.Uint64("epoch", epoch) }
func attrError(err error) slog.Attr         { return slog.String("error", err.Error()) }

func compareIDs(a, b core.MemberID) int { return cmp.Compare(a, b) }

// maxBlocked is how many blocked IDs are remembered; the oldest are forgotten, and are then refused as
// unknown instead.
const maxBlocked = 65_536

// blockList is a bounded set of IDs. Not safe for concurrent use.
type blockList struct {
	set   map[core.MemberID]struct{}
	order []core.MemberID
}

func (b *blockList) has(id core.MemberID) bool {
	_, ok := b.set[id]
	return ok
}

func (b *blockList) add(id core.MemberID) {
	if b.has(id) || id == "" {
		return
	}
	if b.set == nil {
		b.set = make(map[core.MemberID]struct{})
	}
	if len(b.order) >= maxBlocked {
		delete(b.set, b.order[0])
		b.order = slices.Delete(b.order, 0, 1)
	}
	b.set[id] = struct{}{}
	b.order = append(b.order, id)
}
