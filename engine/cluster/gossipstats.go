package cluster

// GossipStats are the sizes of what gossip holds on a node, and counts since its start.
type GossipStats struct {
	Members int // of whom something may be known
	Keys    int // of all members
	Bytes   int // of all values
	Peers   int // with whom it talks, clients that read here among them
	Blocked int // of whom nothing is believed
	Clients int // that have read here of late

	Rounds  uint64
	Sent    uint64 // questions
	Acked   uint64 // of them, answered in time
	Lost    uint64 // of them, not
	Merged  uint64 // values that were taken from others
	Refused uint64 // values, messages and settings that were not
}

// GossipStats tells how gossip goes, as of its last round.
func (n *Node) GossipStats() GossipStats {
	s := GossipStats{Refused: n.gossip.refusals.Load()}
	if p := n.gossip.stats.Load(); p != nil {
		refused := s.Refused
		s = *p
		s.Refused = refused
	}
	return s
}

// measure keeps what GossipStats tells.
func (g *gossiper) measure() {
	g.rounds++
	m := g.machine.Stats()
	g.stats.Store(&GossipStats{
		Members: m.Members, Keys: m.Keys, Bytes: m.Bytes, Peers: m.Peers, Blocked: m.Blocked, Clients: len(g.readers.asked),
		Rounds: g.rounds, Sent: m.Sent, Acked: m.Acked, Lost: m.Lost, Merged: m.Merged,
	})
}
