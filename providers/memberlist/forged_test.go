package memberlist

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// A process that holds the gossip key, where there is one, can make up what it likes of others. Each
// case makes something up about one member and tells it to another one only; that member believes it,
// and the one that it is about takes it back at once. The pool exchanges whole states each 30 s, which
// is longer than the test waits.
func TestForgedNewsIsRefuted(t *testing.T) {
	nodes := pool(t, 3, Config{Preset: LAN})
	deceived, victim := nodes[0], nodes[1]
	good := meta{id: "intruder", status: core.Up, revision: 1}.encode()
	heavy := func(v *core.View) bool { m, there := v.Member(victim.self.ID); return there && m.Weight == 99 }
	without := func(v *core.View) bool { _, there := v.Member(victim.self.ID); return !there }
	departed := func() departure { return departure{victim.self.ID, victim.revision() + 10} }

	for name, tc := range map[string]struct {
		packet   func() []byte
		state    func() []byte
		believed func(*core.View) bool
	}{
		"a row in a message": {
			packet:   func() []byte { return encodeRow(victim.forged()) },
			believed: heavy,
		},
		"a row in a state": {
			state:    func() []byte { return encodeState([][]byte{victim.forged().encode()}, nil) },
			believed: heavy,
		},
		"a farewell in a message": {
			packet:   func() []byte { return encodeLeft(departed(), victim.Addr()) },
			believed: without,
		},
		"a farewell in a state": {
			state:    func() []byte { return encodeState(nil, []departure{departed()}) },
			believed: without,
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(deceived.since(0))
			i := &intruder{meta: good}
			if tc.state != nil {
				i.state = tc.state()
			}
			m := intrude(t, "intruder", i, deceived.Addr())
			if tc.packet != nil {
				shout(t, m.SendToAddress(lib.Address{Addr: deceived.Addr(), Name: string(deceived.self.ID)}, tc.packet()))
			}
			shout(t, m.Shutdown())
			deceived.await(t, "what was made up, and then the truth", func(v *core.View) bool {
				return slices.ContainsFunc(deceived.since(before), tc.believed) && shows(nodes...)(v) && !heavy(v)
			})
			for _, n := range nodes {
				n.await(t, "the truth", func(v *core.View) bool { return shows(nodes...)(v) && !heavy(v) })
			}
		})
	}
	if !strings.Contains(victim.log.String(), "it was refuted") {
		t.Error("the member that others lied about logs nothing")
	}
}

// Who takes news of a member in from a whole state, which is no gossip, shows them to the member.
func TestNewsAreShownToTheMember(t *testing.T) {
	nodes := pool(t, 1, Config{Preset: LAN})
	w := rowAt("victim", "127.0.0.1:1", 1, 1)
	victim := &intruder{meta: metaOf(w).encode(), state: encodeState([][]byte{w.encode()}, nil), heard: make(chan []byte, 1000)}
	gossip := intrude(t, "victim", victim, nodes[0].Addr()).LocalNode().Address()
	nodes[0].await(t, "the victim", func(v *core.View) bool { return v.Len() == 2 })
	forged := w
	forged.revision = 7
	liar := &intruder{meta: meta{id: "liar", client: true, revision: 1}.encode()}
	for _, tc := range []struct{ state, want []byte }{
		{encodeState([][]byte{forged.encode()}, nil), encodeRow(forged)},
		{encodeState(nil, []departure{{"victim", 8}}), encodeLeft(departure{"victim", 8}, gossip)},
	} {
		liar.state = tc.state
		shout(t, intrude(t, "liar", liar, nodes[0].Addr()).Shutdown())
		for timeout := time.After(patience); ; {
			select {
			case heard := <-victim.heard:
				if bytes.Equal(heard, tc.want) {
					break
				}
				continue
			case <-timeout:
				t.Fatalf("it was not shown %q", tc.want)
			}
			break
		}
	}
}

// A client has no row, but whoever makes up that it left would have it get no answers any more.
func TestForgedFarewellOfAClient(t *testing.T) {
	nodes := pool(t, 1, Config{Preset: Local})
	client := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}}, core.Member{})
	shout(t, client.Watch(t.Context(), client.env(), client.report))
	client.await(t, "the member", shows(nodes...))
	id := client.session.table.id
	known := func() (revision uint64, there bool) {
		m := nodes[0].session
		m.mu.Lock()
		defer m.mu.Unlock()
		if n := m.table.nodes[id]; n != nil {
			return n.revision, true
		}
		return 0, false
	}
	eventually(t, "the client is known", func() bool { _, there := known(); return there })
	nodes[0].session.left(departure{id, 40}, client.Addr(), encodeLeft(departure{id, 40}, client.Addr()))
	eventually(t, "the client is known again", func() bool { revision, there := known(); return there && revision == 41 })
}

// revision is that of the own row.
func (n *testNode) revision() uint64 {
	n.session.mu.Lock()
	defer n.session.mu.Unlock()
	return n.session.table.own.revision
}

// forged is a row of n that n did not write.
func (n *testNode) forged() row {
	n.session.mu.Lock()
	defer n.session.mu.Unlock()
	w := n.session.table.own
	w.revision, w.Weight = w.revision+10, 99
	return w
}
