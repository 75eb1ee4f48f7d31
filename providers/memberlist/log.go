package memberlist

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/granary-go/granary/core"
)

// newLibraryLog is a logger for the library, which marks its lines "[WARN] memberlist: …". From the moment
// that down is set nothing is more than debug: the library still sends while its socket is being closed, and
// that it cannot is what closing means.
func newLibraryLog(l *slog.Logger, down *atomic.Bool) *log.Logger {
	return slog.NewLogLogger(levels{l.Handler(), down}, slog.LevelDebug)
}

// levels gives each line the level that its mark names.
type levels struct {
	slog.Handler
	down *atomic.Bool // the session gives its port back
}

// Enabled cannot tell before the line is read.
func (levels) Enabled(context.Context, slog.Level) bool { return true }

// Handle strips the mark and passes the line on at its level. What the library calls an error is
// the failure of a peer, so it is a warning here.
func (h levels) Handle(ctx context.Context, r slog.Record) error {
	level, text := slog.LevelDebug, r.Message
	if mark, rest, found := strings.Cut(strings.TrimPrefix(text, "["), "] "); found && strings.HasPrefix(text, "[") {
		switch mark {
		case "ERR", "ERROR", "WARN":
			level = slog.LevelWarn
		case "INFO":
			level = slog.LevelInfo
		}
		text = strings.TrimPrefix(rest, "memberlist: ")
	}
	if h.down.Load() {
		level = slog.LevelDebug
	}
	if !h.Handler.Enabled(ctx, level) {
		return nil
	}
	out := slog.NewRecord(r.Time, level, "gossip: "+text, r.PC)
	return h.Handler.Handle(ctx, out)
}

// refusals logs what was refused, once each quiet time, with the number of those in between: what
// others send must not fill the log.
type refusals struct {
	logger *slog.Logger
	clock  core.Clock

	mu      sync.Mutex
	last    time.Time
	skipped int
}

const quiet = 10 * time.Second

func (r *refusals) add(err error) {
	now := r.clock.Now()
	r.mu.Lock()
	if !r.last.IsZero() && now.Sub(r.last) < quiet {
		r.skipped++
		r.mu.Unlock()
		return
	}
	skipped := r.skipped
	r.last, r.skipped = now, 0
	r.mu.Unlock()
	r.logger.Warn("refused what a peer sent", slog.Any("error", err), slog.Int("refusedSinceLastLine", skipped))
}

// outage is the time in which no seed answers and nobody else is there. It is told once when it
// begins and once when it is over.
type outage struct {
	logger *slog.Logger
	seeds  []string

	mu   sync.Mutex
	told bool
}

// fails notes that no seed answered, of which err is the last reason.
func (o *outage) fails(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		return
	}
	o.told = true
	o.logger.Warn("no seed answers, and this member has found nobody else: it keeps trying; start one of the seeds, or correct Config.Seeds, Cluster or GossipKey",
		slog.Any("seeds", o.seeds), slog.Any("error", err))
}

// over notes that somebody is there.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		o.told = false
		o.logger.Info("the seeds, or other members, are found again", slog.Any("seeds", o.seeds))
	}
}
