package history

import (
	"slices"
	"testing"
)

const second = int64(1e9)

// scene is a run by its records, in any order but that of each member.
type scene []Record

func (s scene) each(want func(event string) bool, take func(*Record)) error {
	for _, r := range s {
		if want(r.Event) {
			take(&r)
		}
	}
	return nil
}

func (s scene) judge(t *testing.T) *Summary {
	t.Helper()
	sum, err := judgeSource(s)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func (s *scene) add(at float64, r Record) {
	r.Ns = int64(at * float64(second))
	*s = append(*s, r)
}

func (s *scene) topology(at float64, hash string, members ...string) {
	for i, m := range members {
		s.add(at+float64(i)/100, Record{Event: Topology, Member: m, Hash: hash, Members: members})
	}
}

// without drops the records that match.
func (s *scene) without(match func(Record) bool) { *s = slices.DeleteFunc(*s, match) }

// call is the call of an identity that was begun in a second; nil if there is none.
func (s scene) call(id string, at int64) *Record {
	for i, r := range s {
		if r.Event == Called && r.ID == id && r.Start == at*second {
			return &s[i]
		}
	}
	return nil
}

// goodRun is a run that went well: a, b and c form, c is killed at 10 s, d joins at 20 s, and the
// identities x and y are called once a second, until 30 s.
func goodRun() scene {
	s := scene{{Event: Configured, Config: &Config{Seed: 1, Provider: "memberlist", Lookup: "disthash", Members: 3, Callers: 2,
		Identities: 2, TimeoutSeconds: 5, RecoverySeconds: 10, Kill: true, Join: true}}}
	s.add(0, Record{Event: Spawned, Member: "a", Phase: Form})
	s.topology(0.1, "1", "a")
	s.add(0.1, Record{Event: Spawned, Member: "b", Phase: Form})
	s.add(0.2, Record{Event: Spawned, Member: "c", Phase: Form})
	s.topology(0.48, "3", "a", "b", "c")
	s.add(0.6, Record{Event: Load, Phase: Begin})
	s.add(0.7, Record{Event: Activated, Member: "a", ID: "K/x", Activation: "x1"})
	s.add(0.7, Record{Event: Activated, Member: "c", ID: "K/y", Activation: "y1"})
	s.add(10, Record{Event: Killed, Member: "c"})
	s.add(13, Record{Event: Topology, Member: "a", Hash: "2", Members: []string{"a", "b"}})
	s.add(14, Record{Event: Topology, Member: "b", Hash: "2", Members: []string{"a", "b"}})
	s.add(14.5, Record{Event: Activated, Member: "b", ID: "K/y", Activation: "y2"})
	s.add(20, Record{Event: Spawned, Member: "d", Phase: Join})
	s.topology(20.98, "3b", "a", "b", "d")
	s.add(21.5, Record{Event: Deactivated, Member: "b", ID: "K/y", Activation: "y2"})
	s.add(21.6, Record{Event: Activated, Member: "d", ID: "K/y", Activation: "y3"})
	s.calls()
	s.add(30, Record{Event: Load, Phase: End})
	for _, m := range []string{"a", "b", "d"} {
		s.add(30.1, Record{Event: Stopping, Member: m})
	}
	s.add(31, Record{Event: Left})
	return s
}

func (s *scene) calls() {
	for at := int64(1); at < 30; at++ {
		for i, id := range []string{"K/x", "K/y"} {
			start := at * second
			r := Record{Event: Called, Member: "caller", Request: uint64(i+1)<<32 | uint64(at), ID: id, Start: start, End: start + second/1000, Outcome: OK, Delivery: delivered}
			switch {
			case id == "K/y" && at == 10:
				r.Outcome, r.Delivery = "unreachable", "unknown"
			case id == "K/y" && at > 10 && at < 15:
				r.Outcome, r.Delivery = "no member", undelivered
			default:
				s.add(float64(at), Record{Event: Handled, Member: "a", Request: r.Request, ID: id})
			}
			r.Ns = r.End
			*s = append(*s, r)
		}
	}
}
