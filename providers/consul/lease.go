package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/granary-go/granary/core"
)

// Lease has a session hold the key of the member id, a new one where there is none any more.
func (b *backend) Lease(ctx context.Context, id core.MemberID) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	session := b.held()
	if session != "" {
		alive, err := b.extend(ctx, session)
		if err != nil {
			return err
		}
		if !alive {
			session = ""
		}
	}
	if session == "" {
		var err error
		if session, err = b.begin(ctx, id); err != nil {
			return err
		}
	}
	return b.acquire(ctx, id, session)
}

func (b *backend) held() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.session
}

// check asks the agent once whether it is one that can serve.
func (b *backend) check(ctx context.Context) error {
	b.mu.Lock()
	checked := b.checked
	b.mu.Unlock()
	if checked {
		return nil
	}
	if err := b.client.check(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	b.checked = true
	b.mu.Unlock()
	return nil
}

// begin makes a session that only its TTL ends: with the checks that Consul binds by default, a word of its gossip
// would end it as well. The least lock-delay keeps its successor from waiting; 0 would mean 15 s.
func (b *backend) begin(ctx context.Context, id core.MemberID) (session string, err error) {
	settings := &api.SessionEntry{
		Name: "granary member " + string(id), TTL: b.ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond,
	}
	err = b.client.call(ctx, func(ctx context.Context) (err error) {
		session, _, err = b.client.api.Session().CreateNoChecks(settings, b.client.write(ctx))
		return err
	})
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session, b.owner = session, id
	return session, nil
}

// acquire has the session hold the key of id. ErrConflict: another member's does.
func (b *backend) acquire(ctx context.Context, id core.MemberID, session string) error {
	var held bool
	lock := &api.KVTxnOp{Verb: api.KVLock, Key: b.lease(id), Value: []byte("{}"), Session: session}
	err := b.client.call(ctx, func(ctx context.Context) (err error) {
		held, _, _, err = b.client.api.Txn().Txn(api.TxnOps{{KV: lock}}, (&api.QueryOptions{Datacenter: b.client.center}).WithContext(ctx))
		return err
	})
	if err != nil || held {
		return err
	}
	holder, err := b.holder(ctx, id)
	switch {
	case err != nil:
		return err
	case holder == "" || holder == session:
		return fmt.Errorf("%s: the lease of %q was not to be had: %w", b.client.server, id, core.ErrUnreachable)
	}
	return fmt.Errorf("%s: another process holds the lease of member %q: %w", b.client.server, id, core.ErrConflict)
}

// holder is the session that holds the key of id; empty: none.
func (b *backend) holder(ctx context.Context, id core.MemberID) (session string, err error) {
	err = b.client.call(ctx, func(ctx context.Context) error {
		pairs, meta, err := b.client.api.KV().List(b.lease(id), b.client.query(ctx))
		if err != nil {
			return err
		}
		for _, pair := range pairs {
			if pair.Key == b.lease(id) {
				session = pair.Session
			}
		}
		return whole(meta)
	})
	return session, err
}

// extend renews the session; false: there is none any more.
func (b *backend) extend(ctx context.Context, session string) (alive bool, err error) {
	err = b.client.call(ctx, func(ctx context.Context) error {
		entry, _, err := b.client.api.Session().Renew(session, b.client.write(ctx))
		alive = entry != nil
		return err
	})
	return alive, err
}

// Renew renews the session, and then looks whether it still holds the key: whoever takes the member out removes
// it in the same transaction.
func (b *backend) Renew(ctx context.Context, id core.MemberID) error {
	session := b.held()
	alive, err := false, error(nil)
	if session != "" {
		alive, err = b.extend(ctx, session)
	}
	if err != nil {
		return err
	}
	holder := ""
	if alive {
		holder, err = b.holder(ctx, id)
	}
	switch {
	case err != nil:
		return err
	case holder == "" || holder != session:
		return fmt.Errorf("%s: member %q has no lease any more: %w", b.client.server, id, core.ErrEvicted)
	}
	return nil
}

// Release ends the session, and with it whatever this member still asks for.
func (b *backend) Release(ctx context.Context, _ core.MemberID) error {
	session := b.held()
	if session == "" {
		return nil
	}
	err := b.client.call(ctx, func(ctx context.Context) error {
		_, err := b.client.api.Session().Destroy(session, b.client.write(ctx))
		return err
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.session = ""
	return nil
}
