// Package detector suspects members that have fallen silent, and where there is a core.ViewStore decides
// when to vote against them and when to propose an eviction. It is a pure machine: what was heard and
// what time it is go in, probes, suspicions, votes and proposals come out. It removes nobody: only the
// provider does.
//
// # Silence
//
// A member that was heard since the last round is alive, whatever the frame was. One that was not is
// probed, and a round that passes without an answer is a miss; three misses in a row, at one round a
// second, make it a suspect, and a refused reconnect does so at once. Rounds that this node's own timers
// were late for count no miss, since it was this node that did not listen. A node whose timers are later
// than a quarter of the lease is sick: its patience is doubled, and it is not ready.
//
// # Votes
//
// A suspect gets a vote if this node has heard it before, and nobody else has heard of it for as long.
// So a partial cut, in which a third member still hears it, leads to no eviction, and one that was
// evicted behind a cut that stays is not evicted again under its new ID: neither can oscillate. A
// refused reconnect is a vote whatever others heard. Votes count for 60 s from when this node first saw
// them, and only if voter and suspect are in the view. With min(2, ⌊(N+1)/2⌋) of them, every voter
// proposes the eviction; at most max(1, N/10) members in 10 s, counting all that vanished without
// having announced it, so that a voter that is itself broken cannot take the cluster apart.
package detector
