package parts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// Membership is a core.Provider on any core.Store.
type Membership struct{ *viewkeeper.Provider }

// NewMembership makes the membership of one node. Members of one store and name are a cluster. A member that
// renews nothing for 3 s is taken out.
func NewMembership(n Name, s core.Store) *Membership {
	name := string(n)
	cfg := viewkeeper.Config{Name: "files", Promises: core.Promises{Ordered: true, Linearizable: true}, TTL: 3 * time.Second}
	return &Membership{viewkeeper.New(cfg, &backend{s, core.Key{Group: name, Name: "view"}, name + " leases"})}
}

// Name is what a cluster is called.
type Name string

// backend keeps the view record in one item, and a number for each member, which grows as it renews.
type backend struct {
	store  core.Store
	record core.Key
	leases string // a group
}

// look is how often a member looks for a new record.
const look = 100 * time.Millisecond

// Read gets the record, and lists the leases.
func (b *backend) Read(ctx context.Context) (viewkeeper.Snapshot, error) {
	s := viewkeeper.Snapshot{Leases: map[core.MemberID]uint64{}}
	item, err := b.store.Get(ctx, b.record)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		return s, err
	}
	s.Record, s.Mark = item.Value, strconv.FormatUint(uint64(item.Revision), 10)
	for lease, err := range b.store.List(ctx, b.leases) {
		if err != nil {
			return s, err
		}
		s.Leases[core.MemberID(lease.Key.Name)] = uint64(lease.Revision) // another one with every renewal
	}
	return s, nil
}

// Write swaps the record, between the leases of those that join and the end of those that leave.
func (b *backend) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	item, err := b.store.Get(ctx, b.record)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	var was struct {
		WriteID string `json:"write_id"`
	}
	if item.Value != nil {
		err = json.Unmarshal(item.Value, &was)
	} else {
		err = nil
	}
	if err != nil || was.WriteID != old {
		return errors.Join(err, core.ErrConflict)
	}
	for _, m := range next.Joined {
		if err := b.Lease(ctx, m.ID); err != nil {
			return err
		}
	}
	if _, err := b.store.Put(ctx, b.record, record, item.Revision); err != nil {
		return err
	}
	for _, m := range next.Left {
		if err := b.Release(ctx, m.ID); err != nil {
			return err
		}
	}
	return nil
}

func (b *backend) lease(id core.MemberID) core.Key {
	return core.Key{Group: b.leases, Name: string(id)}
}

// Lease makes a lease.
func (b *backend) Lease(ctx context.Context, id core.MemberID) error {
	_, err := b.store.Put(ctx, b.lease(id), nil, core.Any)
	return err
}

// Renew gives a lease another revision.
func (b *backend) Renew(ctx context.Context, id core.MemberID) error {
	lease, err := b.store.Get(ctx, b.lease(id))
	if err == nil {
		_, err = b.store.Put(ctx, lease.Key, nil, lease.Revision)
	}
	if errors.Is(err, core.ErrNotFound) || errors.Is(err, core.ErrConflict) {
		return fmt.Errorf("member %q has no lease: %w", id, core.ErrEvicted)
	}
	return err
}

// Release ends a lease.
func (b *backend) Release(ctx context.Context, id core.MemberID) error {
	return b.store.Delete(ctx, b.lease(id), core.Any)
}

// Await waits: a file tells nobody that it is new.
func (b *backend) Await(ctx context.Context, _ viewkeeper.Snapshot) error {
	select {
	case <-time.After(look):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Watches is false: the members look after each other's leases.
func (b *backend) Watches() bool { return false }
