package memberlist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	lib "github.com/hashicorp/memberlist"

	"github.com/granary-go/granary/core"
)

// intruder is a node of the bare library in a pool without a key: it says what it likes.
type intruder struct {
	meta, state []byte
	heard       chan []byte // messages that came; nil: they are dropped
}

func (i *intruder) NodeMeta(int) []byte             { return i.meta }
func (i *intruder) MergeRemoteState([]byte, bool)   {}
func (i *intruder) GetBroadcasts(_, _ int) [][]byte { return nil }
func (i *intruder) LocalState(bool) []byte          { return i.state }

func (i *intruder) NotifyMsg(b []byte) {
	select {
	case i.heard <- bytes.Clone(b):
	default:
	}
}

func intrude(t *testing.T, name string, i *intruder, target string) *lib.Memberlist {
	t.Helper()
	c := lib.DefaultLocalConfig()
	c.Name, c.BindAddr, c.BindPort, c.AdvertisePort = name, "127.0.0.1", 0, 0
	c.Label, c.Delegate, c.Logger = defaultCluster, i, log.New(io.Discard, "", 0)
	c.DelegateProtocolVersion, c.DelegateProtocolMin, c.DelegateProtocolMax = rowFormat, rowFormat, rowFormat
	m, err := lib.Create(c)
	shout(t, err)
	t.Cleanup(func() { _ = m.Shutdown() })
	if _, err := m.Join([]string{target}); err != nil {
		t.Logf("%s: %v", name, err)
	}
	return m
}

// Row 16 of the bad inputs: whatever a process in the pool says, the members go on undisturbed.
func TestHostileRows(t *testing.T) {
	begin := time.Now()
	nodes := pool(t, 2, Config{Preset: Local})
	encoded := func(f func(*row)) []byte {
		w := goodRow()
		f(&w)
		return w.encode()
	}
	good := meta{id: "intruder", status: core.Up, revision: 1}.encode()
	var many [][]byte
	for i := range 9_999 {
		many = append(many, encoded(func(w *row) { w.ID, w.Address = core.MemberID(fmt.Sprintf("ghost-%d", i)), fmt.Sprintf("h%d:1", i) }))
	}
	tooMany := binary.AppendUvarint([]byte{rowFormat}, 100_000)
	for range 100_000 {
		tooMany = appendText(tooMany, many[0])
	}
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	cases := map[string]*intruder{
		"meta that is garbage":   {meta: []byte{1, 2, 3}},
		"meta of another ID":     {meta: meta{id: "somebody", status: core.Up, revision: 1}.encode()},
		"no meta":                {},
		"state that is garbage":  {meta: good, state: []byte("garbage")},
		"missing port":           {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.Address = "intruder", "127.0.0.1" })}, nil)},
		"port 0":                 {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.Address = "intruder", "127.0.0.1:0" })}, nil)},
		"port 70000":             {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.Address = "intruder", "127.0.0.1:70000" })}, nil)},
		"host 0.0.0.0":           {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.Address = "intruder", "0.0.0.0:1" })}, nil)},
		"kind list of 1 MB":      {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.Kinds = "intruder", manyKinds(10_000, 100) })}, nil)},
		"rows of nobody":         {meta: good, state: encodeState(many, nil)},
		"10^5 members":           {meta: good, state: tooMany},
		"the row of a member":    {meta: good, state: encodeState([][]byte{encoded(func(w *row) { w.ID, w.revision = nodes[0].self.ID, 1 })}, nil)},
		"farewell of a stranger": {meta: good, state: encodeState(nil, []departure{{"nobody", 1}})},
	}
	for name, i := range cases {
		t.Run(name, func(t *testing.T) {
			m := intrude(t, "intruder", i, nodes[0].Addr())
			for _, message := range [][]byte{
				{}, {'x'}, {msgRow}, {msgRow, 1, 2}, {msgWant}, append([]byte{msgWant}, "nobody"...),
				append([]byte{msgWant}, make([]byte, 500)...), {msgLeft}, append([]byte{msgLeft}, "stranger\n"...),
				encodeLeft(departure{"stranger", 1}, "127.0.0.1:1"), encodeLeft(departure{nodes[1].self.ID, 99}, "127.0.0.1:1"), encodeLeft(departure{"x", 1}, "nowhere"),
			} {
				_ = m.SendToAddress(lib.Address{Addr: nodes[0].Addr(), Name: string(nodes[0].self.ID)}, message)
			}
			_ = m.Shutdown()
		})
	}
	for _, n := range nodes {
		n.await(t, "both and nobody else", shows(nodes...))
		for _, v := range n.since(0) {
			if _, there := v.Member("intruder"); there {
				t.Errorf("%s reported the intruder", n.self.ID)
			}
		}
	}
	runtime.GC()
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if growth := int64(after.HeapAlloc) - int64(before.HeapAlloc); growth > 32<<20 {
		t.Errorf("the heap grew by %d MB", growth>>20)
	}
	if n := strings.Count(nodes[0].log.String(), "refused what a peer sent"); n == 0 || n > 2+int(time.Since(begin)/quiet) {
		t.Errorf("%d lines about refusals: not told, or not throttled", n)
	}
	// The pool still works.
	row := nodes[1].self
	row.Weight = 9
	shout(t, nodes[1].Update(t.Context(), row))
	nodes[0].await(t, "the update", func(v *core.View) bool { m, _ := v.Member(row.ID); return m.Weight == 9 })
}

// Two members by mistake advertise one address: one of them is reported, everywhere the same, and the
// other one tells why it is not.
func TestDuplicateAddress(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	twin := newNode(t, Config{Preset: Local, Seeds: []string{nodes[0].Addr()}},
		core.Member{ID: "twin", Address: nodes[1].self.Address, Status: core.Up})
	shout(t, twin.join(t.Context()))
	eventually(t, "one of the two gives in, and all report the other", func() bool {
		views := []*core.View{nodes[0].present(), nodes[1].present(), twin.present()}
		for _, v := range views {
			_, a := v.Member("twin")
			_, b := v.Member(nodes[1].self.ID)
			if a == b || v.Len() != 2 || v.Hash() != views[0].Hash() {
				return false
			}
		}
		const text = "another process advertises the address"
		told, other := lines(twin.log.String(), "WARN", text), lines(nodes[1].log.String(), "WARN", text)
		return told+other > 0 && told < 2 && other < 2
	})
}

// Bytes of no protocol, on both sockets.
func TestGarbageOnThePort(t *testing.T) {
	nodes := pool(t, 2, Config{Preset: Local})
	for _, junk := range [][]byte{{}, []byte("GET / HTTP/1.1\r\n\r\n"), {0x16, 3, 1, 0, 0xff}, make([]byte, 4096), {0xf4, 7, 'g', 'r', 'a', 'n', 'a', 'r', 'y', 6, 0xff, 0xff}} {
		c, err := net.Dial("tcp", nodes[0].Addr())
		shout(t, err)
		_, _ = c.Write(junk)
		_ = c.Close()
		u, err := net.Dial("udp", nodes[0].Addr())
		shout(t, err)
		_, _ = u.Write(junk)
		_ = u.Close()
	}
	row := nodes[1].self
	row.Weight = 9
	shout(t, nodes[1].Update(t.Context(), row))
	nodes[0].await(t, "the update", func(v *core.View) bool { m, _ := v.Member(row.ID); return m.Weight == 9 })
}

// Streams past the bound are closed, and those that idle end with Leave.
func TestManyStreams(t *testing.T) {
	n := newNode(t, Config{Preset: WAN}, someMember("streams")) // a stream may take 30 s
	shout(t, n.join(t.Context()))
	var idle []net.Conn
	for range maxStreams + 20 {
		c, err := net.Dial("tcp", n.Addr())
		shout(t, err)
		idle = append(idle, c)
	}
	closed := 0
	for _, c := range idle[maxStreams:] {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
			closed++
		}
	}
	if closed < 20 {
		t.Errorf("%d of 20 streams past the bound were closed", closed)
	}
	start := time.Now()
	n.leave(t, t.Context())
	if took := time.Since(start); took > patience {
		t.Errorf("leave took %v", took)
	}
	for _, c := range idle {
		_ = c.Close()
	}
}
