package gossip

import (
	"iter"
	"slices"
	"time"

	"github.com/granary-go/granary/core"
)

// Machine is the gossip of one process. One goroutine owns it, reads included.
type Machine struct {
	cfg     Config
	own     *entry            // nil for a client
	version uint64            // of the last own write
	removed map[string]uint64 // own keys that somebody may still hold, by the version of their removal

	view    []core.MemberID // ascending; the members that count
	viewed  bool            // a view was installed
	digest  digest
	entries map[core.MemberID]*entry
	order   []*entry // of entries, ascending by ID
	free    []int    // slots that are not in use
	slots   int
	blocked map[core.MemberID]struct{}
	clients map[core.MemberID]struct{}

	peers    map[core.MemberID]*peer
	ring     []core.MemberID // the peers in the order of this lap
	next     int             // index in ring
	exchange uint64          // number of the last exchange begun
	rounds   uint64          // number of the present round

	checks []*check
	stats  Stats
	now    time.Time
	out    []Effect
}

// New makes a Machine that knows nobody. All complaints about cfg are joined.
func New(cfg Config) (*Machine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg:     cfg,
		entries: map[core.MemberID]*entry{},
		blocked: map[core.MemberID]struct{}{},
		clients: map[core.MemberID]struct{}{},
		peers:   map[core.MemberID]*peer{},
		removed: map[string]uint64{},
	}
	if !cfg.Client {
		m.own = m.admit(cfg.Self)
	}
	return m, nil
}

// Config is the configuration with its defaults filled in.
func (m *Machine) Config() Config { return m.cfg }

// Step takes one input and appends what it causes to out. now only has to be monotonic.
func (m *Machine) Step(now time.Time, in Input, out []Effect) []Effect {
	m.now, m.out = now, out
	in.step(m)
	m.judge()
	out, m.out = m.out, nil
	return out
}

func (m *Machine) emit(e Effect) { m.out = append(m.out, e) }

// Get is the value that is known of a member's key. Read only.
func (m *Machine) Get(member core.MemberID, key string) (Value, bool) {
	e := m.entries[member]
	if e == nil {
		return Value{}, false
	}
	i, found := e.find(key)
	if !found {
		return Value{}, false
	}
	return e.values[i], true
}

// Keys lists the values that are known of a member, ascending by version. Read only.
func (m *Machine) Keys(member core.MemberID) []Value {
	if e := m.entries[member]; e != nil {
		return slices.Clip(e.values)
	}
	return nil
}

// All lists the values of one key, ascending by member. The Machine must not take a step meanwhile.
func (m *Machine) All(key string) iter.Seq2[core.MemberID, Value] {
	return func(yield func(core.MemberID, Value) bool) {
		for _, e := range m.order {
			if i, found := e.find(key); found && !yield(e.id, e.values[i]) {
				return
			}
		}
	}
}

// Members lists those of whom something may be known, ascending: the present view without blocked
// members, and this member itself.
func (m *Machine) Members() []core.MemberID {
	ids := make([]core.MemberID, len(m.order))
	for i, e := range m.order {
		ids[i] = e.id
	}
	return ids
}

// Behind lists the members of the view, ascending, that have not yet acknowledged the present value
// of an own key.
func (m *Machine) Behind(key string) (ids []core.MemberID) {
	v, found := m.Get(m.cfg.Self, key)
	if !found {
		return nil
	}
	for _, id := range m.view {
		if p := m.peers[id]; p != nil && p.line(m.own) < v.Version {
			ids = append(ids, id)
		}
	}
	return ids
}

// set writes an own key.
func (m *Machine) set(key string, value core.Message, push bool) {
	if err := m.refuseSet(key, value); err != nil {
		m.refuse(offence{from: m.cfg.Self, owner: m.cfg.Self, key: key, err: err, count: 1})
		return
	}
	m.version++
	delete(m.removed, key)
	m.write(m.own, Value{Key: key, Version: m.version, Message: value})
	m.advance(m.own, m.version)
	if push {
		m.push()
	}
}

// write makes v the value of its key, and tells of it.
func (m *Machine) write(e *entry, v Value) {
	e.put(v)
	m.changed(e, v.Key)
	if v.Key == KeyKeys {
		m.relist(e, v)
	}
}

func (m *Machine) refuseSet(key string, value core.Message) error {
	switch {
	case m.own == nil:
		return errClient
	case checkValue(key, value) != "":
		return CheckSet(key, value)
	case key == KeyKeys:
		return setError(key, ErrInvalid)
	case m.own.full(key), m.crowded(key):
		return setError(key, ErrTooMany)
	case m.version >= maxVersion:
		return setError(key, ErrVersion)
	}
	return nil
}

// refute numbers the own writes anew if somebody holds a version that was never written here: it
// would hide every write below it. It says as well which keys there are, so that a key that was made up
// goes, and takes no place. One message gains one jump at most, so that nobody uses the
// versions up with a word; a relayed write gains no more either, so this one catches up.
func (m *Machine) refute(known uint64) {
	if m.own == nil || known <= m.version || known > maxVersion-maxValues {
		return
	}
	list := Value{Key: KeyKeys, Version: min(known, m.version+MaxJump) + 1, Message: listingOf(m.own.values, "")}
	m.version = m.own.restamp(list.Version)
	m.write(m.own, list)
	for key := range m.removed {
		m.removed[key] = list.Version
	}
	m.advance(m.own, m.version)
	m.stats.Refuted++
}

// advance moves the line of e up to version.
func (m *Machine) advance(e *entry, version uint64) {
	if version > e.upto {
		e.upto, e.news = version, m.rounds
		m.digest.stale = true
	}
}

// changed tells of the new value of e's key.
func (m *Machine) changed(e *entry, key string) {
	i, _ := e.find(key)
	v := e.values[i]
	for _, c := range m.checks {
		c.note(e, v)
	}
	m.emit(Changed{Member: e.id, Key: key, Value: v.Message, Version: v.Version})
}
