package redis

import (
	"context"
	"fmt"
	"iter"

	"github.com/granary-go/granary/core"
)

// Fence claims group for t.
func (s *Store) Fence(ctx context.Context, group string, t core.Token) (core.Store, error) {
	answer, err := claimScript.Run(ctx, s.client.redis, []string{s.key(group)}, t.String(), s.ttl.Milliseconds()).Text()
	if err == nil {
		err = verdict(answer, t.String(), core.Absent)
	} else {
		err = s.client.failure(ctx, err)
	}
	if err != nil {
		return nil, fmt.Errorf("redis: fence %q: %w", group, err)
	}
	return &fenced{store: s, group: group, token: t}, nil
}

// fenced is the Store whose writes to one group carry a token.
type fenced struct {
	store *Store
	group string
	token core.Token
}

func (f *fenced) Get(ctx context.Context, k core.Key) (core.Item, error) { return f.store.Get(ctx, k) }

func (f *fenced) Put(ctx context.Context, k core.Key, value []byte, at core.Revision) (core.Revision, error) {
	return f.store.put(ctx, k, value, at, f)
}

func (f *fenced) Delete(ctx context.Context, k core.Key, at core.Revision) error {
	return f.store.remove(ctx, k, at, f)
}

func (f *fenced) List(ctx context.Context, group string) iter.Seq2[core.Item, error] {
	return f.store.List(ctx, group)
}
