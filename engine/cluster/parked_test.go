package cluster

import "testing"

// TestWaitingCallsAreBoundedInBytes at the bound less one, at the bound, and above it.
func TestWaitingCallsAreBoundedInBytes(t *testing.T) {
	for _, tt := range []struct {
		held, size int
		fits       bool
	}{{0, maxParkedBytes - 1, true}, {0, maxParkedBytes, true}, {0, maxParkedBytes + 1, false}, {maxParkedBytes - 10, 10, true}, {maxParkedBytes - 10, 11, false}} {
		n := &Node{}
		n.parkedBytes.Store(int64(tt.held))
		if fits := n.room(&inCall{size: tt.size}); fits != tt.fits {
			t.Errorf("%d bytes beside %d: %v, want %v", tt.size, tt.held, fits, tt.fits)
		}
		want := int64(tt.held)
		if tt.fits {
			want += int64(tt.size)
		}
		if got := n.parkedBytes.Load(); got != want {
			t.Errorf("%d bytes beside %d: %d are counted, want %d", tt.size, tt.held, got, want)
		}
	}
}
