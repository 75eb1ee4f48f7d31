package clustertest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/memory"
)

// provider is that of the hub, as seen through a connection that may break, be slow, or lead to a
// replica that lags behind.
type provider struct {
	*memory.Provider
	delay time.Duration // of each call; reports take a third more
	once  sync.Once
	ended chan struct{} // closed with Leave and Crash

	mu      sync.Mutex
	broken  int           // by so many faults
	lagging int           // by so many faults
	changed chan struct{} // closed and renewed when one of these changes
	held    int           // calls that have waited since
	past    []*core.View  // as reported, the newest last
}

// apart is how far from each other calls arrive that were held up together: in the order in which they were
// made, and not at one instant.
const apart = 7 * time.Microsecond

// kept is how many views back a lagging replica may be.
const kept = 4

func newProvider(p *memory.Provider, delay time.Duration) *provider {
	return &provider{Provider: p, delay: delay, ended: make(chan struct{}), changed: make(chan struct{})}
}

// fault changes the counts of faults.
func (p *provider) fault(broken, lagging int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken, p.lagging = max(p.broken+broken, 0), max(p.lagging+lagging, 0)
	close(p.changed)
	p.changed, p.held = make(chan struct{}), 0
}

func (p *provider) mend() {
	p.mu.Lock()
	broken, lagging := p.broken, p.lagging
	p.mu.Unlock()
	p.fault(-broken, -lagging)
}

// reach waits until the backend can be reached.
func (p *provider) reach(ctx context.Context, what string) error {
	fail := func(cause error) error {
		return fmt.Errorf("clustertest: %s: the provider is out of reach: %w: %w", what, core.ErrUnreachable, cause)
	}
	for behind := 0; ; {
		p.mu.Lock()
		broken, changed := p.broken > 0, p.changed
		if broken && behind == 0 {
			p.held++
			behind = p.held
		}
		p.mu.Unlock()
		if !broken {
			if !p.wait(p.delay+time.Duration(behind)*apart, ctx.Done()) {
				return fail(ctx.Err())
			}
			return nil
		}
		select {
		case <-changed:
		case <-p.ended:
			return nil // the provider itself says what that means
		case <-ctx.Done():
			return fail(ctx.Err())
		}
	}
}

// wait takes as long as a message to or from the backend does. It is false if over comes first.
func (p *provider) wait(d time.Duration, over <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	case <-over:
		return false
	}
	return true
}

// through is report as it comes through the faults. It holds up the hub's reports to this node, as a
// connection does that is stuck.
func (p *provider) through(report func(*core.View)) func(*core.View) {
	return func(v *core.View) {
		if p.pass(report) {
			p.note(v)
			report(v)
		}
	}
}

// pass waits until a report may pass, and has an old one reported while the replica lags. It is false
// if nothing is to be reported any more.
func (p *provider) pass(report func(*core.View)) bool {
	p.wait(p.delay+p.delay/3, nil) // never as long as a call, so that one does not meet the other
	for told := false; ; {
		p.mu.Lock()
		broken, lagging, changed := p.broken > 0, p.lagging > 0, p.changed
		var old *core.View
		if lagging && !broken && !told && len(p.past) > 0 {
			told, old = true, p.past[0]
		}
		p.mu.Unlock()
		if old != nil {
			report(old)
		}
		if !broken && !lagging {
			break
		}
		select {
		case <-changed:
		case <-p.ended:
			return false
		}
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *provider) note(v *core.View) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.past = append(p.past, v)
	p.past = p.past[max(0, len(p.past)-kept):]
}

func (p *provider) end() { p.once.Do(func() { close(p.ended) }) }

func (p *provider) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	if err := p.reach(ctx, "join"); err != nil {
		return err
	}
	return p.Provider.Join(ctx, env, self, p.through(report))
}

func (p *provider) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	if err := p.reach(ctx, "watch"); err != nil {
		return err
	}
	return p.Provider.Watch(ctx, env, p.through(report))
}

func (p *provider) Update(ctx context.Context, self core.Member) error {
	if err := p.reach(ctx, "update"); err != nil {
		return err
	}
	return p.Provider.Update(ctx, self)
}

func (p *provider) SwapView(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	if err := p.reach(ctx, "swap"); err != nil {
		return nil, err
	}
	return p.Provider.SwapView(ctx, old, next)
}

func (p *provider) RenewLease(ctx context.Context) error {
	if err := p.reach(ctx, "renew"); err != nil {
		return err
	}
	return p.Provider.RenewLease(ctx)
}

// Leave leaves a row behind, until its lease has run out, if the backend cannot be reached.
func (p *provider) Leave(ctx context.Context) error {
	err := p.reach(ctx, "leave")
	p.end()
	if err != nil {
		p.Provider.Crash()
	}
	if gone := p.Provider.Leave(context.WithoutCancel(ctx)); gone != nil {
		return gone
	}
	return err
}

// Crash is that of the hub's provider, for the reports that are held up too.
func (p *provider) Crash() {
	p.Provider.Crash()
	p.end()
}

var (
	_ core.Provider     = (*provider)(nil)
	_ core.ViewStore    = (*provider)(nil)
	_ core.MemberLeases = (*provider)(nil)
	_ core.Refresher    = (*provider)(nil)
)
