package memberlist

import (
	"strings"
	"testing"

	"github.com/granary-go/granary/core"
)

// lines counts the lines of a level that hold a text.
func lines(log, level, text string) (n int) {
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level="+level) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// While no seed answers a joining member says so once, and once that one does.
func TestOutageOfTheSeedsAtJoin(t *testing.T) {
	at := freePort(t)
	n := newNode(t, Config{Preset: Local, Seeds: []string{at, freePort(t)}}, someMember("early"))
	joined := make(chan error, 1)
	go func() { joined <- n.join(t.Context()) }()
	eventually(t, "the outage is told", func() bool { return lines(n.log.String(), "WARN", "no seed answers") == 1 })
	if log := n.log.String(); !strings.Contains(log, at) || !strings.Contains(log, "Config.Seeds") {
		t.Errorf("it names neither the seeds nor what to do:\n%s", log)
	}
	seed := newNode(t, Config{Preset: Local, Bind: at}, someMember("seed"))
	shout(t, seed.join(t.Context()))
	shout(t, <-joined)
	n.await(t, "both", shows(n, seed))
	if log := n.log.String(); lines(log, "WARN", "no seed answers") != 1 || lines(log, "INFO", "found again") != 1 {
		t.Errorf("not once each:\n%s", log)
	}
}

// So does a member that is left alone.
func TestOutageOfThePool(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	first, at, second := nodes[0], nodes[0].Addr(), nodes[1]
	for round := 1; round <= 2; round++ {
		first.leave(t, t.Context())
		eventually(t, "the outage is told", func() bool { return lines(second.log.String(), "WARN", "no seed answers") == round })
		first = newNode(t, Config{Preset: Local, Bind: at}, core.Member{ID: first.self.ID + "x", Address: first.self.Address, Status: core.Up})
		shout(t, first.join(t.Context()))
		second.await(t, "both again", shows(first, second))
		eventually(t, "its end is told", func() bool { return lines(second.log.String(), "INFO", "found again") == round })
	}
}

// A pool is not in trouble because one of the seeds is gone.
func TestOneOfTheSeeds(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local, Seeds: nil})
	n := newNode(t, Config{Preset: Local, Seeds: []string{freePort(t), nodes[0].Addr()}}, someMember("third"))
	shout(t, n.join(t.Context()))
	nodes = append(nodes, n)
	n.await(t, "all", shows(nodes...))
	n.session.outage.over() // it is told of no end without a beginning
	if log := n.log.String(); lines(log, "WARN", "no seed answers")+lines(log, "INFO", "found again") != 0 {
		t.Errorf("it tells of an outage:\n%s", log)
	}
}
