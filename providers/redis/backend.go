package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// backend keeps the record of one cluster: {granary:NAME}:view is a hash of the record and its write ID,
// {granary:NAME}:leases one of a number for each member, which grows with its renewals. News go over the channel
// {granary:NAME}:news. All have one hash tag, so that the scripts run on a cluster; no key expires.
type backend struct {
	client *Client
	view   string
	leases string
	news   string
}

func newBackend(name string, c *Client) *backend {
	tag := "{granary:" + name + "}:"
	return &backend{client: c, view: tag + "view", leases: tag + "leases", news: tag + "news"}
}

var (
	readScript = goredis.NewScript(`
local view = redis.call('HMGET', KEYS[1], 'record', 'id')
return {view[1], view[2], redis.call('HGETALL', KEYS[2])}`)

	// ARGV: the write ID that must be there ('' none), the record, its write ID, the channel, how many join, those,
	// those that leave.
	writeScript = goredis.NewScript(`
local there = redis.call('HGET', KEYS[1], 'id') or ''
if there == ARGV[3] then return 1 end
if there ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'id', ARGV[3])
for i = 6, #ARGV do
	if i < 6 + tonumber(ARGV[5]) then
		redis.call('HINCRBY', KEYS[2], ARGV[i], 1)
	else
		redis.call('HDEL', KEYS[2], ARGV[i])
	end
end
redis.call('PUBLISH', ARGV[4], ARGV[3])
return 1`)

	renewScript = goredis.NewScript(`
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
return 1`)
)

// Read returns record and leases of one moment.
func (b *backend) Read(ctx context.Context) (viewkeeper.Snapshot, error) {
	answer, err := readScript.Run(ctx, b.client.redis, []string{b.view, b.leases}).Slice()
	if err != nil {
		return viewkeeper.Snapshot{}, b.client.failure(ctx, err)
	}
	return snapshot(answer)
}

// snapshot reads the answer of readScript.
func snapshot(answer []any) (viewkeeper.Snapshot, error) {
	s := viewkeeper.Snapshot{Leases: map[core.MemberID]uint64{}}
	bad := fmt.Errorf("the script answered %v: %w", answer, core.ErrInvalid)
	if len(answer) != 3 {
		return s, bad
	}
	if record, ok := answer[0].(string); ok {
		s.Record = []byte(record)
	}
	s.Mark, _ = answer[1].(string)
	pairs, ok := answer[2].([]any)
	if !ok || len(pairs)%2 != 0 {
		return s, bad
	}
	for i := 0; i < len(pairs); i += 2 {
		id, _ := pairs[i].(string)
		text, _ := pairs[i+1].(string)
		renewals, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return s, fmt.Errorf("the lease of %q is %q: %w", id, text, core.ErrInvalid)
		}
		s.Leases[core.MemberID(id)] = renewals
	}
	return s, nil
}

// Write stores the record and changes the leases, in one script.
func (b *backend) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	args := []any{old, record, next.View.Record().WriteID, b.news, len(next.Joined)}
	for _, m := range next.Joined {
		args = append(args, string(m.ID))
	}
	for _, m := range next.Left {
		args = append(args, string(m.ID))
	}
	stored, err := writeScript.Run(ctx, b.client.redis, []string{b.view, b.leases}, args...).Int()
	switch {
	case err != nil:
		return b.client.failure(ctx, err)
	case stored == 0:
		return core.ErrConflict
	}
	return nil
}

// Lease has nothing to do: the script that stores a row makes its lease.
func (b *backend) Lease(context.Context, core.MemberID) error { return nil }

// Renew counts on.
func (b *backend) Renew(ctx context.Context, id core.MemberID) error {
	renewed, err := renewScript.Run(ctx, b.client.redis, []string{b.leases}, string(id)).Int()
	switch {
	case err != nil:
		return b.client.failure(ctx, err)
	case renewed == 0:
		return fmt.Errorf("member %q has no lease any more: %w", id, core.ErrEvicted)
	}
	return nil
}

// Release has nothing to do: the script that takes a row out ends its lease.
func (b *backend) Release(context.Context, core.MemberID) error { return nil }

// Watches is false: members count each other's renewals.
func (b *backend) Watches() bool { return false }

// Await listens until a record is told that is not the one seen. What was missed while nobody listened is
// found by the poll.
func (b *backend) Await(ctx context.Context, seen viewkeeper.Snapshot) error {
	sub := b.client.redis.Subscribe(ctx, b.news)
	defer sub.Close()
	if _, err := sub.Receive(ctx); err != nil {
		return b.client.failure(ctx, err)
	}
	id, err := b.client.redis.HGet(ctx, b.view, "id").Result() // what was written before the subscription stood
	if err != nil && !errors.Is(err, goredis.Nil) {
		return b.client.failure(ctx, err)
	}
	if id != seen.Mark {
		return nil
	}
	for {
		m, err := sub.ReceiveMessage(ctx)
		switch {
		case err != nil:
			return b.client.failure(ctx, err)
		case !strings.EqualFold(m.Payload, seen.Mark):
			return nil
		}
	}
}
