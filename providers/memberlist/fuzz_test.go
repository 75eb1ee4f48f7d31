package memberlist

import (
	"testing"

	"github.com/granary-go/granary/core"
	"github.com/granary-go/granary/core/fuzztest"
)

func FuzzRow(f *testing.F) {
	f.Add(goodRow().encode())
	f.Add([]byte{})
	f.Add(goodRow().encode()[:20])
	d := fuzztest.Decoder[row]{Decode: decodeRow, Encode: func(w row) ([]byte, error) { return w.encode(), nil }}
	f.Fuzz(func(t *testing.T, b []byte) { d.Check(t, b) })
}

func FuzzMeta(f *testing.F) {
	f.Add(meta{id: "m1", status: core.Up, revision: 1}.encode())
	f.Add(meta{id: "c1", client: true, revision: 1}.encode())
	d := fuzztest.Decoder[meta]{Decode: decodeMeta, Encode: func(m meta) ([]byte, error) { return m.encode(), nil }}
	f.Fuzz(func(t *testing.T, b []byte) { d.Check(t, b) })
}

// pooled is what a state says.
type pooled struct {
	rows     string // each behind its length
	departed []departure
}

func decodePooled(b []byte) (pooled, error) {
	rows := make([]byte, 0, len(b))
	departed, err := decodeState(b, func(w []byte) { rows = appendText(rows, w) })
	if err != nil {
		return pooled{}, err // the rows in front of what is malformed are taken, as gossip is
	}
	return pooled{string(rows), departed}, nil
}

func (s pooled) encode() ([]byte, error) {
	var rows [][]byte
	for r := (reader{b: []byte(s.rows)}); len(r.b) > 0; {
		rows = append(rows, r.bytes(maxRow))
	}
	return encodeState(rows, s.departed), nil
}

func FuzzState(f *testing.F) {
	f.Add(encodeState([][]byte{goodRow().encode()}, []departure{{"x", 7}}))
	f.Add(encodeState(nil, nil))
	d := fuzztest.Decoder[pooled]{Decode: decodePooled, Encode: pooled.encode}
	f.Fuzz(func(t *testing.T, b []byte) { d.Check(t, b) })
}

// goodbye is what a farewell says.
type goodbye struct {
	departure
	address string
}

func FuzzLeft(f *testing.F) {
	f.Add(encodeLeft(departure{"m1", 3}, "127.0.0.1:7000")[1:])
	d := fuzztest.Decoder[goodbye]{
		Decode: func(b []byte) (g goodbye, err error) {
			g.departure, g.address, err = decodeLeft(b)
			return g, err
		},
		Encode: func(g goodbye) ([]byte, error) { return encodeLeft(g.departure, g.address)[1:], nil },
	}
	f.Fuzz(func(t *testing.T, b []byte) { d.Check(t, b) })
}

// bare is a session of one member that knows another one, without a network below.
func bare(f *testing.F) *session {
	w := goodRow()
	w.ID, w.Address = "other", "127.0.0.1:7001"
	n := newNode(f, Config{}, someMember("bare"))
	shout(f, n.join(f.Context()))
	s := n.session
	s.alive(meta{id: w.ID, status: w.Status, protocol: w.Protocol, revision: w.revision}, "127.0.0.1:1")
	s.merge(w, nil)
	return s
}

// What a delegate is called with is refused or taken; either way what it tells the pool can be read, and
// is within its bounds.
func checkDelegate(t *testing.T, s *session, take func(delegate)) {
	t.Helper()
	d := delegate{s}
	take(d)
	if _, err := decodeMeta(d.NodeMeta(512)); err != nil {
		t.Fatalf("meta data after it: %v", err)
	}
	for _, m := range rowsOf(t, d.LocalState(false)) {
		if m.ID == s.table.id && m.Address != s.table.own.Address {
			t.Fatalf("the own row became %+v", m)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.table.pending) > maxPending || len(s.table.departed.ids) > maxDeparted || len(s.echoes) > maxPending {
		t.Fatalf("%d pending, %d departed, %d echoes", len(s.table.pending), len(s.table.departed.ids), len(s.echoes))
	}
}

func rowsOf(t *testing.T, state []byte) (rows []row) {
	t.Helper()
	if _, err := decodeState(state, func(b []byte) {
		w, err := decodeRow(b)
		if err != nil {
			t.Fatalf("a row in the state: %v", err)
		}
		rows = append(rows, w)
	}); err != nil {
		t.Fatalf("the state: %v", err)
	}
	return rows
}

func FuzzMessage(f *testing.F) {
	s := bare(f)
	own := s.table.own
	own.revision, own.Weight = 40, 9
	for _, b := range [][]byte{
		{}, encodeRow(goodRow()), encodeRow(own), append([]byte{msgWant}, "other"...), encodeLeft(departure{own.ID, 3}, s.address),
		encodeLeft(departure{"other", 3}, "127.0.0.1:1"), encodeLeft(departure{own.ID, maxNumber}, s.address), {'x'},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		checkDelegate(t, s, func(d delegate) { d.NotifyMsg(b) })
	})
}

func FuzzRemoteState(f *testing.F) {
	s := bare(f)
	f.Add(encodeState([][]byte{goodRow().encode(), s.table.own.encode(), {1}}, []departure{{"x", 7}, {s.table.id, 9}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		checkDelegate(t, s, func(d delegate) { d.MergeRemoteState(b, false) })
	})
}
