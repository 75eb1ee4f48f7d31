package redis

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"sync"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/viewkeeper"
)

// backend keeps the record of one cluster; the table in doc.go has its keys. All have one hash tag, so that the
// scripts run on a Redis Cluster; no key expires.
type backend struct {
	client *Client
	view   string
	leases string
	watch  watch

	mu      sync.Mutex // guards what follows
	checked bool       // the server was found to be able to serve
	record  []byte     // as read last
	sum     string     // of record, as the server gave it
}

func newBackend(name string, c *Client) *backend {
	tag := "{granary:" + name + "}:"
	return &backend{client: c, view: tag + "view", leases: tag + "leases", watch: newWatch(c, tag+"news")}
}

// Read returns record and leases of one moment. The first time it asks the server whether it can serve.
func (b *backend) Read(ctx context.Context) (viewkeeper.Snapshot, error) {
	if err := b.check(ctx); err != nil {
		return viewkeeper.Snapshot{}, err
	}
	b.mu.Lock()
	record, sum := b.record, b.sum
	b.mu.Unlock()
	answer, err := readScript.Run(ctx, b.client.redis, []string{b.view, b.leases}, sum).Slice()
	if err != nil {
		return viewkeeper.Snapshot{}, b.client.failure(ctx, err)
	}
	s, err := snapshot(answer, sum, record)
	if err != nil {
		return s, fmt.Errorf("%s: %w", b.client.name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.record, b.sum = s.Record, s.Mark
	return s, nil
}

// check asks the server once whether it can serve.
func (b *backend) check(ctx context.Context) error {
	b.mu.Lock()
	checked := b.checked
	b.mu.Unlock()
	if checked {
		return nil
	}
	if err := b.client.version(ctx); err != nil {
		return err
	}
	if err := checkScript.Run(ctx, b.client.redis, []string{b.leases, b.view}, b.watch.channel).Err(); err != nil {
		return b.client.failure(ctx, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.checked = true
	return nil
}

// snapshot reads the answer of readScript: the sum of the record, the record unless its sum is the one that was
// sent, and pairs of member and renewals.
func snapshot(answer []any, sent string, known []byte) (viewkeeper.Snapshot, error) {
	s := viewkeeper.Snapshot{Leases: map[core.MemberID]uint64{}}
	bad := fmt.Errorf("the script answered %d values that are no view and leases: %w", len(answer), core.ErrInvalid)
	if len(answer) != 3 {
		return s, bad
	}
	s.Mark, _ = answer[0].(string)
	record, sent2 := answer[1].(string)
	switch {
	case sent2 && s.Mark != "":
		s.Record = []byte(record)
	case s.Mark != "" && s.Mark == sent:
		s.Record = known
	case s.Mark != "":
		return s, bad
	}
	pairs, ok := answer[2].([]any)
	if !ok || len(pairs)%2 != 0 {
		return s, bad
	}
	for i := 0; i < len(pairs); i += 2 {
		id, isID := pairs[i].(string)
		count, isText := pairs[i+1].(string)
		if !isID || !isText {
			return s, bad
		}
		s.Leases[core.MemberID(id)] = renewals(count)
	}
	return s, nil
}

// renewals reads a lease. What somebody else has written there is a number too: it only has to change with the
// next renewal.
func renewals(text string) uint64 {
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // it never fails
	return h.Sum64()
}

// Write stores the record and changes the leases, in one script.
func (b *backend) Write(ctx context.Context, old string, next core.Topology, record []byte) error {
	args := []any{old, record, next.View.Record().WriteID, b.watch.channel, len(next.Joined)}
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

// renew counts on, if the record lists the member.
func (b *backend) renew(ctx context.Context, id core.MemberID) (listed int, err error) {
	listed, err = renewScript.Run(ctx, b.client.redis, []string{b.leases, b.view}, string(id)).Int()
	if err != nil {
		err = b.client.failure(ctx, err)
	}
	return listed, err
}

// Lease makes the lease of a listed member anew; the script that stores a row makes it otherwise.
func (b *backend) Lease(ctx context.Context, id core.MemberID) error {
	if err := b.check(ctx); err != nil {
		return err
	}
	_, err := b.renew(ctx, id)
	return err
}

// Renew counts on.
func (b *backend) Renew(ctx context.Context, id core.MemberID) error {
	listed, err := b.renew(ctx, id)
	if err == nil && listed == 0 {
		err = fmt.Errorf("%s: member %q is not listed any more: %w", b.client.name, id, core.ErrEvicted)
	}
	return err
}

// Release has nothing to do: the script that takes a row out ends its lease.
func (b *backend) Release(context.Context, core.MemberID) error { return nil }

// Watches is false: members count each other's renewals.
func (b *backend) Watches() bool { return false }

// Run hears of news.
func (b *backend) Run(ctx context.Context) { b.watch.run(ctx) }

// Await waits for the next news, whatever was seen: one that came since is still there to be taken.
func (b *backend) Await(ctx context.Context, _ viewkeeper.Snapshot) error { return b.watch.await(ctx) }

var (
	_ viewkeeper.Backend = (*backend)(nil)
	_ viewkeeper.Runner  = (*backend)(nil)
)
