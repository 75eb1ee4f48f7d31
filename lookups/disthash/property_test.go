package disthash

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/strategy"
)

// someMembers draws members of any status and weight that host some of three kinds.
func someMembers(r *rand.Rand) []core.Member {
	ms := make([]core.Member, 1+r.IntN(8))
	for i := range ms {
		ms[i] = core.Member{
			ID: core.MemberID(fmt.Sprintf("m%d-%d", i, r.IntN(1000))), Address: fmt.Sprintf("h%d:1", i),
			Status: []core.Status{core.Up, core.Up, core.Up, core.Joining, core.Leaving}[r.IntN(5)], Weight: uint16(r.IntN(4) * 70),
		}
		for _, kind := range []string{"K", "L", "M"} {
			if r.IntN(4) > 0 {
				ms[i].Kinds = append(ms[i].Kinds, kind)
			}
		}
	}
	return ms
}

// ownersBy are the owners of the same identities by a view of ms, whatever their order; empty: nobody.
func ownersBy(t *testing.T, ms []core.Member) (owners []core.MemberID) {
	table := newTable(view(t, ms...), false)
	for i := range 120 {
		id := core.Identity{Kind: []string{"K", "L", "M"}[i%3], Key: fmt.Sprint(i)}
		var candidates []core.Member
		for _, m := range ms {
			if m.Status == core.Up && slices.Contains(m.Kinds, id.Kind) {
				candidates = append(candidates, m)
			}
		}
		want, _ := strategy.Rendezvous{}.Pick(id, candidates)
		got, ok := table.owner(id)
		if ok != (len(candidates) > 0) || ok && got.ID != want.ID {
			t.Fatalf("%s: %+v of %+v, want %+v", id, got, ms, want)
		}
		owners = append(owners, want.ID)
	}
	return owners
}

// TestOwnersInRandomViews: the owner follows from the members alone, in whatever order they stand, and what
// happens to one member moves identities to it or from it and no others.
func TestOwnersInRandomViews(t *testing.T) {
	edits := map[string]struct {
		edit     func(ms []core.Member, i int) []core.Member
		to, from bool // identities may move to the member, or from it
	}{
		"shuffled": {func(ms []core.Member, _ int) []core.Member { slices.Reverse(ms); return ms }, false, false},
		"gone":     {func(ms []core.Member, i int) []core.Member { return slices.Delete(ms, i, i+1) }, false, true},
		"leaving":  {func(ms []core.Member, i int) []core.Member { ms[i].Status = core.Leaving; return ms }, false, true},
		"up":       {func(ms []core.Member, i int) []core.Member { ms[i].Status = core.Up; return ms }, true, false},
		"no kinds": {func(ms []core.Member, i int) []core.Member { ms[i].Kinds = nil; return ms }, false, true},
		"all kinds": {func(ms []core.Member, i int) []core.Member {
			ms[i].Kinds = []string{"K", "L", "M"}
			return ms
		}, true, false},
		"heavier": {func(ms []core.Member, i int) []core.Member { ms[i].Weight = 500; return ms }, true, false},
	}
	moves := map[string]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 11))
		ms := someMembers(r)
		before, i := ownersBy(t, ms), r.IntN(len(ms))
		for name, e := range edits {
			after := ownersBy(t, e.edit(slices.Clone(ms), i))
			for k := range before {
				if before[k] == after[k] {
					continue
				}
				moves[name]++
				if to, from := after[k] == ms[i].ID, before[k] == ms[i].ID; to && !e.to || from && !e.from || !to && !from {
					t.Fatalf("seed %d, %s is %s: identity %d moves from %q to %q", seed, ms[i].ID, name, k, before[k], after[k])
				}
			}
		}
	}
	for name, e := range edits {
		if (moves[name] > 0) != (e.to || e.from) {
			t.Errorf("%s: %d moves", name, moves[name])
		}
	}
}
