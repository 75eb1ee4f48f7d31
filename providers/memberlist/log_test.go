package memberlist

import (
	"log/slog"
	"sync/atomic"
	"testing"
)

// What the library warns of is a warning until the port is given back: that it cannot send then says nothing.
func TestLibraryLogAtTheEnd(t *testing.T) {
	const line = "[ERR] memberlist: Failed to send gossip to 127.0.0.1:1: use of closed network connection"
	out, down := new(logBuffer), new(atomic.Bool)
	library := newLibraryLog(slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})), down)
	library.Print(line)
	if n := lines(out.String(), "WARN", "gossip: Failed to send gossip"); n != 1 {
		t.Errorf("%d warnings while the pool is up:\n%s", n, out)
	}
	down.Store(true)
	library.Print(line)
	if w, d := lines(out.String(), "WARN", "Failed"), lines(out.String(), "DEBUG", "Failed"); w != 1 || d != 1 {
		t.Errorf("in all %d warnings and %d lines of debug, want one each:\n%s", w, d, out)
	}
}

// A stay that ends says so to its log.
func TestLeaveQuietensTheLibrary(t *testing.T) {
	n := newNode(t, Config{Preset: Local}, someMember("only"))
	shout(t, n.join(t.Context()))
	s := n.session
	if s.down.Load() {
		t.Error("the log is quiet before Leave")
	}
	n.leave(t, t.Context())
	if !s.down.Load() {
		t.Error("the log is not quiet after Leave")
	}
}
