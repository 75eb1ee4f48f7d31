package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// catalog is the membership of one node in mode Catalog.
type catalog struct {
	client *client
	name   string
	keeper *keeper
	poll   time.Duration // after which a watch that tells nothing is begun anew

	base context.Context
	end  context.CancelCauseFunc // of base, by Leave
	all  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	env   core.Env
	state state
	self  core.MemberID
}

// state is the stage of life of a catalog.
type state uint8

const (
	idle state = iota
	joining
	member
	watcher
	left
)

func newCatalog(cfg Config, c *client) *catalog {
	p := &catalog{client: c, name: cfg.Name, poll: cfg.TTL, keeper: &keeper{entry: entry{client: c, service: cfg.Name, ttl: cfg.TTL}}}
	p.base, p.end = root()
	return p
}

// root begins what Leave ends.
func root() (context.Context, context.CancelCauseFunc) {
	return context.WithCancelCause(context.Background()) // the one root of this service
}

// Promises is Compat alone: the catalogue has no compare-and-set and no order.
func (p *catalog) Promises() core.Promises { return core.Promises{Compat: true} }

// Join registers self with its agent, and starts to refresh and to report.
func (p *catalog) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	ctx, end, err := p.begin(ctx, env, joining)
	if err != nil {
		return fmt.Errorf("consul: join: %w", err)
	}
	defer end()
	if err := p.admit(ctx, self); err != nil {
		if errors.Is(context.Cause(ctx), core.ErrStopped) {
			err = fmt.Errorf("%w: %w", core.ErrStopped, err)
		}
		return fmt.Errorf("consul: join: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeper.start(env, self, true) // also where Leave has come meanwhile: it removes the entry
	if p.state != joining {
		return fmt.Errorf("consul: join: %w", core.ErrStopped)
	}
	p.state, p.self = member, self.ID
	p.start("watch", func(ctx context.Context) { p.watch(ctx, report) })
	return nil
}

// Watch reports without becoming a member.
func (p *catalog) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	ctx, end, err := p.begin(ctx, env, watcher)
	if err != nil {
		return fmt.Errorf("consul: watch: %w", err)
	}
	defer end()
	if _, _, err := p.ask(ctx, 0); lasting(err) {
		return fmt.Errorf("consul: watch: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != watcher {
		return fmt.Errorf("consul: watch: %w", core.ErrStopped)
	}
	p.start("watch", func(ctx context.Context) { p.watch(ctx, report) })
	return nil
}

// begin passes from idle to the state next. The context that it returns ends with Leave too.
func (p *catalog) begin(ctx context.Context, env core.Env, next state) (context.Context, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state == left:
		return nil, nil, core.ErrStopped
	case p.state != idle:
		return nil, nil, fmt.Errorf("called a second time: %w", core.ErrInvalid)
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	}
	p.env, p.state = env, next
	p.all.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.base, func() { cancel(core.ErrStopped) })
	return ctx, func() { stop(); cancel(nil); p.all.Done() }, nil
}

// start runs do in a goroutine that Leave ends and waits for. p.mu is held.
func (p *catalog) start(name string, do func(context.Context)) {
	p.all.Add(1)
	p.env.Go("consul."+name, func() {
		defer p.all.Done()
		do(p.base)
	})
}

// admit registers self, and tries again while the agent is away.
func (p *catalog) admit(ctx context.Context, self core.Member) error {
	p.keeper.claim(self)
	for wait := p.newPause(); ; {
		err := p.keeper.publish(context.WithoutCancel(ctx), self, false) // what is under way could come after Leave
		if err == nil || lasting(err) {
			return err
		}
		p.env.Logger.Warn("join is tried again", slog.String("error", err.Error()))
		if over := wait(ctx); over != nil {
			return fmt.Errorf("%w: %w", over, err)
		}
	}
}

// newPause is a back-off that doubles from 20 ms to 2 s, with jitter. It returns the error of ctx at its end.
func (p *catalog) newPause() func(context.Context) error {
	d := 20 * time.Millisecond
	return func(ctx context.Context) error {
		err := sleep(ctx, p.env.Clock, d/2+rand.N(d/2))
		d = min(2*d, 2*time.Second)
		return err
	}
}

// Update registers self anew.
func (p *catalog) Update(ctx context.Context, self core.Member) error {
	p.mu.Lock()
	state, id := p.state, p.self
	p.mu.Unlock()
	var err error
	switch {
	case state == left:
		err = core.ErrStopped
	case state != member || id != self.ID:
		err = fmt.Errorf("%q has not joined here: %w", self.ID, core.ErrInvalid)
	default:
		select {
		case err = <-p.keeper.set(self):
		case <-ctx.Done():
			err = ctx.Err()
		case <-p.base.Done():
			err = core.ErrStopped
		}
	}
	if err != nil {
		return fmt.Errorf("consul: update: %w", err)
	}
	return nil
}

// Leave deregisters self, if it has joined, ends the watch and waits for it.
func (p *catalog) Leave(ctx context.Context) error {
	p.mu.Lock()
	p.state = left
	p.end(core.ErrStopped)
	p.mu.Unlock()
	p.all.Wait()
	defer p.client.close()
	if err := p.keeper.stop(ctx); err != nil {
		return fmt.Errorf("consul: leave: %w", err)
	}
	return nil
}

// ask reads the services of the cluster once something is newer than index, as Proto.Actor's members do: all of
// them, whatever their health, and for as long as the server likes.
func (p *catalog) ask(ctx context.Context, index uint64) ([]*api.ServiceEntry, uint64, error) {
	limit := p.client.timeout
	if index > 0 {
		limit = p.poll
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	services, meta, err := p.client.api.Health().Service(p.name, "", false, (&api.QueryOptions{WaitIndex: index}).WithContext(limited))
	if err == nil && len(services) == 0 {
		err = whole(meta)
	}
	switch {
	case err != nil && index > 0 && limited.Err() != nil && ctx.Err() == nil:
		return nil, 0, nil // nothing new, or nobody there: it is read anew
	case err != nil:
		return nil, 0, p.client.failure(ctx, err)
	}
	return services, meta.LastIndex, nil
}

// watch reports until ctx ends.
func (p *catalog) watch(ctx context.Context, report func(*core.View)) {
	s := sight{cluster: p.name}
	s.self = p.self // set before this goroutine began
	limit := pace{step: 50 * time.Millisecond, burst: 10}
	wait := p.newPause()
	failing := false
	for index := uint64(0); ctx.Err() == nil; {
		services, told, err := p.ask(ctx, index)
		if err != nil {
			if ctx.Err() == nil && !failing {
				p.env.Logger.Warn("the catalogue cannot be read; it is tried again", slog.String("error", err.Error()))
			}
			failing = true
			index = 0
			_ = wait(ctx) // over with ctx, as is the loop
			continue
		}
		wait, failing = p.newPause(), false
		if told >= index { // else of a server that lags, or was restored: a read from the start tells which
			p.show(ctx, &s, services, report)
		}
		index = follow(index, told)
		_ = sleep(ctx, p.env.Clock, limit.delay(p.env.Clock.Now())) // the same
	}
}

// show reports what s makes of an answer.
func (p *catalog) show(ctx context.Context, s *sight, services []*api.ServiceEntry, report func(*core.View)) {
	view, errs := s.next(services)
	for _, err := range errs {
		p.env.Logger.Warn("a service of the cluster is left out", slog.String("error", err.Error()))
	}
	if s.late {
		p.keeper.hurry() // which finds out whether the agent still knows the service
	}
	if view != nil && ctx.Err() == nil {
		report(view)
	}
}

// sight makes views of answers: a pure machine.
type sight struct {
	cluster string
	self    core.MemberID // empty: a watcher's

	late  bool // the last answer did not show self alive
	epoch uint64
	rows  core.Members
	wrong map[string]bool // complaints that were made about the last answer
}

// next is the view of an answer; nil: it says nothing new, or nothing at all. An answer without a living member,
// or without self, tells of the agent or of this process, which were away, and not of the others. Complaints are
// made once.
func (s *sight) next(services []*api.ServiceEntry) (*core.View, []error) {
	now, errs := rows(s.cluster, services)
	wrong, told := map[string]bool{}, errs[:0]
	for _, err := range errs {
		if !s.wrong[err.Error()] {
			told = append(told, err)
		}
		wrong[err.Error()] = true
	}
	s.wrong = wrong
	s.late = s.self != "" && !now.Has(s.self)
	if s.late || len(now) == 0 || reflect.DeepEqual(now, s.rows) {
		return nil, told
	}
	view, err := core.NewView(core.ViewRecord{Epoch: s.epoch + 1, Revision: s.epoch + 1, Members: now})
	if err != nil {
		return nil, append(told, err)
	}
	s.epoch, s.rows = s.epoch+1, now
	return view, told
}

var _ core.Provider = (*catalog)(nil)
