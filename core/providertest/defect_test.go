package providertest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
	"github.com/granary-go/granary/core/memory"
)

// defects are faults that one provider may have, each with the promise that must be found broken.
var defects = map[string]string{
	"promises change":           "Promises always gives the same answer",
	"join ignores its context":  "Join ends with its context",
	"reports only others":       "Join stores self and reports it",
	"forgets a kind":            "every member is told of every row",
	"watch joins":               "Watch reports, and adds no member",
	"no changes":                "Changes tell each step of ownership",
	"joined is zero":            "Joined is the epoch of admission",
	"epochs of its own":         "epochs are one ascending sequence for all",
	"refresh blocks":            "Refresh returns at once, at any time",
	"a goroutine stays":         "Leave joins the goroutines",
	"answers after leave":       "Leave twice is nil, and everything else gives ErrStopped",
	"second leave fails":        "Leave twice is nil, and everything else gives ErrStopped",
	"joins after leave":         "Leave before Join is nil, and Join then gives ErrStopped",
	"leave does not end join":   "Leave during Join ends it",
	"leave needs its context":   "Leave under an ended context still stops",
	"guard on leave":            "a clean leave departs without guard",
	"two reports at a time":     "members that join at once all see each other",
	"the living are accused":    "a member that vanished is taken out, and nobody else",
	"addresses are kept":        "a restart on the same address is a new member",
	"swaps are not numbered":    "a swap is stored as the next revision and reported to all",
	"votes make epochs":         "a swap that leaves ownership alone keeps the epoch",
	"evictions make none":       "a swap that changes ownership makes the next epoch",
	"the evicted may update":    "an evicted member is refused from then on, and so is its ID",
	"anything is stored":        "an invalid record is refused",
	"conflicts come empty":      "a swap against an older record gives ErrConflict and the present view",
	"renewal after eviction":    "renewal gives ErrEvicted once the row was swapped out",
	"renewal after it lapsed":   "renewal gives ErrEvicted once the lease has lapsed, for good",
	"renewals are lost":         "who renews stays",
	"leases are given up early": "who stops renewing is taken out",
}

// flawed is a provider of the memory hub with one defect.
type flawed struct {
	*memory.Provider
	defect    string
	end       <-chan struct{} // of the check
	addresses *[]string       // of all that joined in the check
	env       core.Env
	self      core.Member
	asked     atomic.Int64 // calls of Promises
	renewed   atomic.Bool
	left      bool
}

func (f *flawed) Promises() core.Promises {
	asked := f.asked.Add(1)
	p := f.Provider.Promises()
	p.Compat = f.defect == "promises change" && asked%2 == 0
	return p
}

func (f *flawed) Join(ctx context.Context, env core.Env, self core.Member, report func(*core.View)) error {
	f.env, f.self = env, self
	switch f.defect {
	case "join ignores its context":
		ctx = context.WithoutCancel(ctx)
	case "a goroutine stays":
		env.Go("stays", func() { <-f.end })
	case "two reports at a time":
		honest := report
		report = func(v *core.View) {
			env.Go("second", func() { honest(v) })
			honest(v)
		}
	case "leave does not end join":
		if self.Weight > 103 { // the cluster of the check stands
			<-f.end
			return core.ErrStopped
		}
	case "joins after leave":
		if f.left {
			return nil
		}
	case "leases are given up early":
		env.Clock.AfterFunc(400*time.Millisecond, func() {
			if v := f.present(); v != nil && v.Len() == 3 {
				f.remove("member-02")
			}
		})
	case "addresses are kept":
		if f.listsAddress(self.Address) {
			return core.ErrConflict
		}
	}
	return f.Provider.Join(ctx, env, self, func(v *core.View) { report(f.distort(v)) })
}

// present is the record of the hub, by a swap that cannot succeed.
func (f *flawed) present() *core.View {
	v, _ := f.Provider.SwapView(context.Background(), nil, core.ViewRecord{})
	return v
}

func (f *flawed) remove(prefix string) {
	v := f.present()
	r := v.Record()
	r.Members = slices.DeleteFunc(r.Members, func(m core.Member) bool { return string(m.ID[:min(len(m.ID), len(prefix))]) == prefix })
	_, _ = f.Provider.SwapView(context.Background(), v, r)
}

func (f *flawed) listsAddress(address string) bool {
	known := slices.Contains(*f.addresses, address)
	*f.addresses = append(*f.addresses, address)
	return known
}

// distort is what the defect makes of a report.
func (f *flawed) distort(v *core.View) *core.View {
	r := v.Record()
	switch f.defect {
	case "reports only others":
		r.Members = slices.DeleteFunc(r.Members, func(m core.Member) bool { return m.ID == f.self.ID })
	case "forgets a kind":
		for i := range r.Members {
			r.Members[i].Kinds = r.Members[i].Kinds[:min(1, len(r.Members[i].Kinds))]
		}
	case "no changes":
		r.Changes = nil
	case "joined is zero":
		for i := range r.Members {
			r.Members[i].Joined = 0
		}
	case "epochs of its own":
		r.Epoch += uint64(f.self.Weight)
	case "guard on leave":
		for i := range r.Departed {
			r.Departed[i].Guard = time.Second
		}
	default:
		return v
	}
	out, err := core.NewView(r)
	if err != nil {
		panic(err)
	}
	return out
}

func (f *flawed) Watch(ctx context.Context, env core.Env, report func(*core.View)) error {
	if f.defect == "watch joins" {
		return f.Provider.Join(ctx, env, core.Member{ID: "watcher", Address: "w:1", Status: core.Up}, report)
	}
	return f.Provider.Watch(ctx, env, report)
}

func (f *flawed) Update(ctx context.Context, self core.Member) error {
	err := f.Provider.Update(ctx, self)
	if f.defect == "answers after leave" && errors.Is(err, core.ErrStopped) || f.defect == "the evicted may update" && errors.Is(err, core.ErrEvicted) {
		return nil
	}
	return err
}

func (f *flawed) Leave(ctx context.Context) error {
	switch f.defect {
	case "leave needs its context":
		if ctx.Err() != nil {
			return ctx.Err()
		}
	case "second leave fails":
		if f.left {
			return core.ErrStopped
		}
	}
	f.left = true
	return f.Provider.Leave(ctx)
}

func (f *flawed) Refresh() {
	if f.defect == "refresh blocks" {
		timer := time.NewTimer(time.Second)
		<-timer.C
	}
	f.Provider.Refresh()
}

func (f *flawed) RenewLease(ctx context.Context) error {
	if f.renewed.Swap(true) && f.defect == "renewals are lost" {
		return nil
	}
	err := f.Provider.RenewLease(ctx)
	if (f.defect == "renewal after eviction" || f.defect == "renewal after it lapsed") && errors.Is(err, core.ErrEvicted) {
		return nil
	}
	return err
}

func (f *flawed) SwapView(ctx context.Context, old *core.View, next core.ViewRecord) (*core.View, error) {
	v, err := f.Provider.SwapView(ctx, old, next)
	switch {
	case err == nil && f.defect == "swaps are not numbered":
		r := v.Record()
		r.Revision = old.Record().Revision
		return core.NewView(r)
	case err == nil && f.defect == "votes make epochs":
		r := v.Record()
		r.Epoch++
		return core.NewView(r)
	case err == nil && f.defect == "evictions make none":
		r := v.Record()
		r.Epoch = old.Epoch()
		return core.NewView(r)
	case errors.Is(err, core.ErrInvalid) && f.defect == "anything is stored":
		return old, nil
	case errors.Is(err, core.ErrConflict) && f.defect == "conflicts come empty":
		return nil, err
	}
	return v, err
}

func TestDefectsAreFound(t *testing.T) {
	for defect, promise := range defects {
		t.Run(defect, func(t *testing.T) {
			h := Harness{
				New: func(t testing.TB) World {
					hub, err := memory.New(memory.Config{TTL: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					var addresses []string
					end := make(chan struct{})
					t.Cleanup(func() { close(end) })
					return World{
						Provider: func() core.Provider {
							return &flawed{Provider: hub.Provider(), defect: defect, end: end, addresses: &addresses}
						},
						Crash: func(p core.Provider) {
							f := p.(*flawed)
							if f.defect == "the living are accused" {
								f.remove("member-02")
							}
							f.Crash()
						},
					}
				},
				Settle: time.Second, Silent: 3 * time.Second, Bubble: true,
			}
			all := rows(h, traitsOf(t, h))
			i := slices.IndexFunc(all, func(r suitetest.Row) bool { return r.Promise == promise })
			if i < 0 {
				t.Fatalf("no row %q", promise)
			}
			if broken := suitetest.Broken(t, true, all[i:i+1]); len(broken) == 0 {
				t.Errorf("%q was not found broken", promise)
			}
		})
	}
}
