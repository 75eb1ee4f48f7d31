package leaktest

import (
	"runtime"
	"strings"
)

// goroutine is one record of the goroutine profile.
type goroutine struct {
	id     string // its number, never reused within a process
	bubble string // "synctest bubble 3", or empty outside of bubbles
	stack  string // the whole record
}

// standing are functions whose goroutines the standard library starts once and never ends, or which
// belong to the test program itself.
var standing = [...]string{
	"\nos/signal.loop(",
	"\nos/signal.signal_recv(",
	"\nruntime.ensureSigM",
	"\nruntime.ReadTrace(",
	"\nruntime/pprof.profileWriter(",
	"\ntesting.(*M).",
	"\ntesting.(*T).Run(",
	"\ntesting.(*F).Fuzz(",
	"\ntesting.runTests(",
	"\ntesting.runFuzzing(",
	"\ntesting.runFuzzTests(",
	"\ninternal/fuzz.",
	"\ninternal/synctest.Run(",
}

// goroutines lists the goroutines that a test may have started: not the calling one, none of the
// test program's own, and, within a bubble, none from outside of it.
func goroutines() []goroutine {
	var out []goroutine
	records := strings.Split(profile(), "\n\n")
	self := parse(records[0]) // runtime.Stack puts the caller first
	for _, text := range records[1:] {
		g := parse(text)
		if g.id == "" || self.bubble != "" && g.bubble != self.bubble || stands(g.stack) {
			continue
		}
		out = append(out, g)
	}
	return out
}

// profile is the stacks of all goroutines, at one moment.
func profile() string {
	for size := 1 << 18; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return string(buf[:n])
		}
	}
}

// parse reads a record, whose head is "goroutine 7 [chan receive (durable), synctest bubble 1]:".
func parse(record string) goroutine {
	record = strings.TrimSpace(record)
	head, _, _ := strings.Cut(record, "\n")
	rest, ok := strings.CutPrefix(head, "goroutine ")
	if !ok {
		return goroutine{}
	}
	id, state, _ := strings.Cut(rest, " ")
	g := goroutine{id: id, stack: record}
	if _, bubble, found := strings.Cut(state, "synctest bubble "); found {
		bubble, _, _ = strings.Cut(bubble, "]")
		bubble, _, _ = strings.Cut(bubble, ",")
		g.bubble = "synctest bubble " + bubble
	}
	return g
}

func stands(stack string) bool {
	for _, f := range standing {
		if strings.Contains(stack, f) {
			return true
		}
	}
	return false
}
