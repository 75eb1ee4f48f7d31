package actor

// side is what few mailboxes need: made when first used.
type side struct {
	control  []any           // runtime messages; handled before all others, also while suspended
	urgent   []item          // nudges, timers, continuations, Terminated: past the bound, before user messages
	refuse   error           // set by Context.Refuse
	sealed   bool            // a poison pill is queued: what comes later would not be handled
	room     chan struct{}   // closed when a Blocking mailbox gains room
	queue    *ordered        // of DropOldest and Priority
	watchers map[pidKey]*Ref // who is told of the actor's end
	waiters  *waiter         // who waits for it
	woken    int64           // when the cell was woken, for Observer.MailboxWait
}

func (m *mailbox) sides() *side {
	if m.side == nil {
		m.side = new(side)
	}
	return m.side
}

// pushUrgent queues an item before all user messages and past the bound.
func (m *mailbox) pushUrgent(it item) outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return isClosed
	}
	s := m.sides()
	s.urgent = append(s.urgent, it)
	m.mark(alert)
	return m.wake()
}

// pushControl queues a message of the runtime; it is taken until the cell is dead.
func (m *mailbox) pushControl(msg any) outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marked(dead) {
		return isClosed
	}
	s := m.sides()
	s.control = append(s.control, msg)
	m.mark(alert)
	if m.scheduled {
		return taken
	}
	m.scheduled = true
	return takenWake
}

// askStop notes a Stop.
func (m *mailbox) askStop() outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marked(dead) {
		return isClosed
	}
	m.stop = true
	m.mark(alert)
	if m.scheduled {
		return taken
	}
	m.scheduled = true
	return takenWake
}

// popControl gives the next message of the runtime; nil: there is none. stop: a Stop came, told last.
func (m *mailbox) popControl() (msg any, stop bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.side != nil && len(m.side.control) > 0 {
		msg = m.side.control[0]
		m.side.control[0] = nil
		if m.side.control = m.side.control[1:]; len(m.side.control) == 0 {
			m.side.control = nil
		}
	} else {
		stop, m.stop = m.stop, false
	}
	m.calm()
	return msg, stop
}

func (m *mailbox) popUrgent() (item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.side == nil || len(m.side.urgent) == 0 {
		return item{}, false
	}
	it := m.side.urgent[0]
	m.side.urgent[0] = item{}
	if m.side.urgent = m.side.urgent[1:]; len(m.side.urgent) == 0 {
		m.side.urgent = nil
	}
	m.calm()
	return it, true
}

// calm takes the alert back when nothing is in side; mu is held.
func (m *mailbox) calm() {
	if !m.stop && (m.side == nil || len(m.side.control) == 0 && len(m.side.urgent) == 0) {
		m.marks.Store(m.marks.Load() &^ alert)
	}
}

// sleepSuspended parks a suspended mailbox unless there is a control message.
func (m *mailbox) sleepSuspended() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop || m.side != nil && len(m.side.control) > 0 {
		return false
	}
	m.scheduled = false
	return true
}

func (m *mailbox) suspend(on bool) {
	m.mu.Lock()
	m.suspended = on
	m.mu.Unlock()
}

// refuse makes the mailbox refuse user messages with err.
func (m *mailbox) refuse(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sides().refuse = err
	m.special = true
}

// awaitRoom gives a channel that is closed when a Blocking mailbox gains room or is closed; nil when it
// has room for size bytes already.
func (m *mailbox) awaitRoom(size uint32, cfg *MailboxConfig) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || !m.full(size, cfg) {
		return nil
	}
	s := m.sides()
	if s.room == nil {
		s.room = make(chan struct{})
	}
	return s.room
}

// giveRoom wakes the senders that wait for room.
func (m *mailbox) giveRoom() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.side != nil && m.side.room != nil {
		close(m.side.room)
		m.side.room = nil
	}
}

// noteWoken keeps the time at which the cell was woken.
func (m *mailbox) noteWoken(now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sides().woken = now
}

// wokenAt takes that time; 0: it was not kept.
func (m *mailbox) wokenAt() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.side == nil {
		return 0
	}
	t := m.side.woken
	m.side.woken = 0
	return t
}
