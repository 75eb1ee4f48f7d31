package lookuptest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/internal/suitetest"
)

// loner offers everything and keeps nothing: it runs every identity on its own node, under tokens
// that fall, starts it anew at each change, and neither ends with a context nor with Stop.
type loner struct {
	host   core.Host
	env    core.Env
	settle time.Duration
	end    chan struct{}
	tokens atomic.Uint64
}

var errLoner = errors.New("no")

func (l *loner) Start(_ context.Context, host core.Host, env core.Env) error {
	l.host, l.env = host, env
	end := l.end
	env.Go("loner", func() { <-end })
	return nil
}

func (l *loner) Resolve(ctx context.Context, id core.Identity) (core.Placement, error) {
	if l.host == nil {
		return core.Placement{}, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*l.settle)
	defer cancel()
	p, err := l.host.Activate(ctx, id, core.Token{Seq: l.tokens.Add(^uint64(0))})
	if p.PID.IsZero() && err != nil {
		return p, errLoner
	}
	return p, nil
}

func (l *loner) Forget(core.Identity, core.PID) { l.stopAll() }

func (l *loner) stopAll() {
	for a := range l.host.Activations() {
		l.env.Go("loner", func() { _ = l.host.Deactivate(context.Background(), a.Identity, a.Token, core.StopMoved) })
	}
}

func (l *loner) Handle(context.Context, core.Member, core.Message) (core.Message, error) {
	return core.Message{}, nil
}

func (l *loner) Reshape(core.Topology) error {
	if len(slices.Collect(l.host.Activations())) > 20 {
		timer := time.NewTimer(2 * time.Second)
		<-timer.C
	}
	l.stopAll()
	return nil
}

func (l *loner) Stop(context.Context) error {
	if l.end != nil {
		end := l.end
		l.end = nil
		time.AfterFunc(10*time.Millisecond, func() { close(end) })
	}
	return errLoner
}

func (l *loner) Owner(core.Identity) (core.Member, bool)   { return l.host.Self(), true }
func (l *loner) Released(core.Activation, core.StopReason) {}

func TestATwinThatKeepsNothingFailsEveryRow(t *testing.T) {
	h := Harness{Level: 1, Settle: time.Second, Bubble: true}
	h.New = func(testing.TB) func() core.Lookup {
		return func() core.Lookup { return &loner{settle: h.Settle, end: make(chan struct{})} }
	}
	directory, router := rows(h, traits{}), rows(h, traits{router: true})
	for i, row := range router {
		if directory[i].Skip != "" {
			directory[i] = row // each promise once, whichever kind of lookup makes it
		}
	}
	suitetest.MustFail(t, true, directory)
}

func TestWhatIsNotPromisedIsSkipped(t *testing.T) {
	skipped := func(h Harness, tr traits) (out []string) {
		for _, row := range rows(h, tr) {
			if row.Skip != "" && !slices.Contains(out, row.Skip) {
				out = append(out, row.Skip)
			}
		}
		return out
	}
	tests := []struct {
		name  string
		level int
		tr    traits
		want  []string
	}{
		{"a hash lookup", 0, traits{router: true}, []string{"level 0: tokens order nothing", "a Router places by ownership alone"}},
		{
			"one that places as Proto.Actor does", 0, traits{router: true, compat: true},
			[]string{"level 0: tokens order nothing", "a Router places by ownership alone", "owners are those of Proto.Actor"},
		},
		{"a directory", 1, traits{}, []string{"the lookup is no Router"}},
		{"one that needs order", 1, traits{ordered: true}, []string{"the lookup requires ordered views", "the lookup is no Router"}},
	}
	for _, tt := range tests {
		if got := skipped(Harness{Level: tt.level}, tt.tr); !slices.Equal(got, tt.want) {
			t.Errorf("%s: skipped because of %q, want %q", tt.name, got, tt.want)
		}
	}
}
