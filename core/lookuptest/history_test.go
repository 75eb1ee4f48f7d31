package lookuptest

import (
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func line(what happening, member core.MemberID, seq uint64) event {
	pid := core.PID{Address: "a", ID: string(member), Member: member}
	return event{what: what, a: core.Activation{Identity: core.Identity{Kind: kind, Key: "k"}, Placement: core.Placement{PID: pid, Token: core.Token{Seq: seq}}}}
}

func TestHistoryCheckers(t *testing.T) {
	tests := []struct {
		name                  string
		events                []event
		overlaps, regressions int
	}{
		{"nothing", nil, 0, 0},
		{"one after the other", []event{line(started, "a", 1), line(stopped, "a", 1), line(started, "b", 2)}, 0, 0},
		{"after a crash", []event{line(started, "a", 1), line(vanished, "a", 1), line(started, "b", 2)}, 0, 0},
		{"two at once", []event{line(started, "a", 1), line(started, "b", 2), line(stopped, "a", 1)}, 1, 0},
		{"three at once", []event{line(started, "a", 1), line(started, "b", 2), line(started, "c", 3)}, 3, 0},
		{"the stop of another", []event{line(started, "a", 1), line(stopped, "b", 1), line(started, "b", 2)}, 1, 0},
		{"token again", []event{line(started, "a", 1), line(stopped, "a", 1), line(started, "a", 1)}, 0, 1},
		{"token back", []event{line(started, "a", 2), line(stopped, "a", 2), line(started, "b", 1), line(stopped, "b", 1), line(started, "b", 2)}, 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := overlaps(tt.events); len(got) != tt.overlaps {
				t.Errorf("overlaps %q, want %d", got, tt.overlaps)
			}
			if got := regressions(tt.events); len(got) != tt.regressions {
				t.Errorf("regressions %q, want %d", got, tt.regressions)
			}
		})
	}
}

func TestThroughWire(t *testing.T) {
	err := core.WithDelivery(core.Retry(core.ErrBusy, 7), core.Undelivered)
	got := throughWire(err)
	if after, ok := core.RetryAfter(got); !ok || after != 7 || core.DeliveryOf(got) != core.Undelivered || !strings.Contains(got.Error(), "busy") {
		t.Errorf("%v", got)
	}
	if throughWire(nil) != nil {
		t.Error("nil became an error")
	}
}
