package consul

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// Meta data of services, beside Proto.Actor's "id".
const (
	idKey       = "id"
	ownerKey    = "granary" // "record": the entry is for other readers only
	statusKey   = "granary-status"
	weightKey   = "granary-weight"
	protocolKey = "granary-protocol"
)

// abandoned is after how long Consul removes an entry whose member is gone. It is the least that it allows.
const abandoned = "1m0s"

// errGone says that the agent does not know an entry any more.
var errGone = errors.New("the agent does not know the service")

// entry writes the service of one member to its agent.
type entry struct {
	client  *client
	service string
	ttl     time.Duration
	prefix  string            // of the IDs of entries: they are of one agent, not of one service
	meta    map[string]string // of each entry
}

func (e *entry) id(of core.MemberID) string { return e.prefix + string(of) }

// registration is the entry of m.
func (e *entry) registration(m core.Member) (*api.AgentServiceRegistration, error) {
	host, text, err := net.SplitHostPort(m.Address)
	if err != nil {
		return nil, fmt.Errorf("member %q has address %q: %w: %w", m.ID, m.Address, err, core.ErrInvalid)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 || host == "" || strings.Contains(string(m.ID), "/") {
		return nil, fmt.Errorf("member %q at %q cannot be a service of Consul: it needs a host, a port, and no slash in its ID: %w", m.ID, m.Address, core.ErrInvalid)
	}
	meta := map[string]string{idKey: string(m.ID)}
	for key, value := range e.meta {
		meta[key] = value
	}
	if m.Status != core.Up {
		meta[statusKey] = m.Status.String()
	}
	if m.Weight != 0 {
		meta[weightKey] = strconv.Itoa(int(m.Weight))
	}
	if m.Protocol != (core.Protocol{}) {
		meta[protocolKey] = fmt.Sprintf("%d-%d", m.Protocol.Min, m.Protocol.Max)
	}
	return &api.AgentServiceRegistration{
		ID: e.id(m.ID), Name: e.service, Tags: m.Kinds, Address: host, Port: int(port), Meta: meta,
		Check: &api.AgentServiceCheck{TTL: e.ttl.String(), DeregisterCriticalServiceAfter: abandoned},
	}, nil
}

// health is the status of the check of a living m: passing, or while it joins warning, with which Proto.Actor's
// members do not count it yet.
func health(m core.Member) string {
	if m.Status == core.Joining {
		return api.HealthWarning
	}
	return api.HealthPassing
}

// register writes the entry of m. In place of an earlier one its check is healthy from the start: else the member
// would be out of others' views until the next refresh.
func (e *entry) register(ctx context.Context, m core.Member, again bool) error {
	service, err := e.registration(m)
	if err != nil {
		return err
	}
	if again {
		service.Check.Status = health(m)
	}
	return e.client.call(ctx, func(ctx context.Context) error {
		return e.client.api.Agent().ServiceRegisterOpts(service, api.ServiceRegisterOpts{}.WithContext(ctx))
	})
}

// refresh says that m is alive. errGone: it has to be registered.
func (e *entry) refresh(ctx context.Context, m core.Member) error {
	gone := false
	err := e.client.call(ctx, func(ctx context.Context) error {
		err := e.client.api.Agent().UpdateTTLOpts("service:"+e.id(m.ID), "", health(m), (&api.QueryOptions{}).WithContext(ctx))
		gone = unknownCheck(err)
		return err
	})
	if gone {
		return errGone
	}
	return err
}

// unknownCheck reports whether an agent has answered that there is no such check: with 404, or with 500 up to 1.11.
func unknownCheck(err error) bool {
	status, ok := errors.AsType[api.StatusError](err)
	return ok && (status.Code == http.StatusNotFound || status.Code == http.StatusInternalServerError) &&
		(strings.Contains(status.Body, "does not have associated TTL") || strings.Contains(status.Body, "Unknown check"))
}

// publish does both.
func (e *entry) publish(ctx context.Context, m core.Member, again bool) error {
	if err := e.register(ctx, m, again); err != nil {
		return err
	}
	return e.refresh(ctx, m)
}

// deregister removes the entry of id.
func (e *entry) deregister(ctx context.Context, id core.MemberID) error {
	return e.client.call(ctx, func(ctx context.Context) error {
		return e.client.api.Agent().ServiceDeregisterOpts(e.id(id), (&api.QueryOptions{}).WithContext(ctx))
	})
}

// keeper keeps the entry of this member in the catalogue of its agent: it refreshes the check three times a TTL,
// and registers again whatever the agent has lost.
type keeper struct {
	entry

	mu     sync.Mutex // guards what follows
	env    core.Env
	row    core.Member  // the entry of it may be there; without an ID: there is none
	fresh  bool         // the agent may have an older row, or none
	told   []chan error // get the outcome of the next write
	closed bool
	wake   chan struct{} // of the goroutine; nil: there is none
	end    func()
	over   chan struct{} // closed when the goroutine has ended
}

// start keeps the entry of row, which is registered already or not, until stop.
func (k *keeper) start(env core.Env, row core.Member, registered bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || k.wake != nil {
		return
	}
	ctx, end := root()
	k.env, k.row, k.fresh, k.end = env, row, !registered, func() { end(core.ErrStopped) }
	k.wake, k.over = make(chan struct{}, 1), make(chan struct{})
	over := k.over
	env.Go("consul.entry", func() {
		defer close(over)
		k.run(ctx)
	})
}

// claim says that the entry of row is about to be registered, before start.
func (k *keeper) claim(row core.Member) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.row = row
}

// set changes the row. The outcome of writing it comes once, unless stop comes first.
func (k *keeper) set(row core.Member) <-chan error {
	told := make(chan error, 1)
	k.mu.Lock()
	k.row, k.fresh = row, true
	k.told = append(k.told, told)
	k.mu.Unlock()
	k.hurry()
	return told
}

// hurry has the next refresh come now.
func (k *keeper) hurry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select { // a nil channel before start takes nothing
	case k.wake <- struct{}{}:
	default:
	}
}

// run writes and refreshes until ctx ends. A request under way is not cut off then: it could come after the
// removal of the entry.
func (k *keeper) run(ctx context.Context) {
	var failing bool
	pause := time.Duration(0)
	for ctx.Err() == nil {
		err := k.write(context.WithoutCancel(ctx))
		if err == nil {
			failing, pause = false, 0
			k.rest(ctx, k.ttl/3)
			continue
		}
		if !failing {
			failing = true
			k.env.Logger.Warn("the entry in Consul's catalogue is not kept; it is tried again", slog.String("error", err.Error()))
		}
		pause = min(max(2*pause, 50*time.Millisecond), max(k.ttl/3, time.Second))
		_ = sleep(ctx, k.env.Clock, pause/2+rand.N(pause/2)) // over with ctx, as is the loop
	}
}

// rest waits for d, for a change of the row, or for ctx.
func (k *keeper) rest(ctx context.Context, d time.Duration) {
	over := make(chan struct{})
	defer k.env.Clock.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
	case <-k.wake:
	case <-ctx.Done():
	}
}

// write registers the row if that is needed, and says that the member is alive.
func (k *keeper) write(ctx context.Context) error {
	k.mu.Lock()
	row, fresh, told := k.row, k.fresh, k.told
	k.fresh, k.told = false, nil
	k.mu.Unlock()
	err := errGone
	if !fresh || health(row) == api.HealthPassing { // a row that says up comes after a check that does
		err = k.refresh(ctx, row)
	}
	if fresh = fresh || errors.Is(err, errGone); fresh {
		err = k.publish(ctx, row, true)
	}
	if err != nil && fresh {
		k.mu.Lock()
		k.fresh = true
		k.mu.Unlock()
	}
	for _, done := range told {
		done <- err
	}
	return err
}

// stop ends what start began, and removes the entry. Nothing is written after it.
func (k *keeper) stop(ctx context.Context) error {
	k.mu.Lock()
	k.closed = true
	end, over, id := k.end, k.over, k.row.ID
	k.mu.Unlock()
	if end != nil {
		end()
		<-over
	}
	if id == "" {
		return nil
	}
	if err := k.deregister(ctx, id); err != nil {
		return err
	}
	k.mu.Lock()
	k.row = core.Member{}
	k.mu.Unlock()
	return nil
}
