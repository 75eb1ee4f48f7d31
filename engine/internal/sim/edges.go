package main

// edges are the states that a run of many seeds must have come through. Those that the machines reach too
// seldom by design are counted, but not demanded: votes that are known to the accused or taken back before
// they count, and a leave that the provider never hears of.
var edges = []string{
	"ban.heard", "ban.lifted", "cache.dropped", "cache.hit", "consensus.lost", "consensus.reached", "detector.clear",
	"detector.evict", "detector.probe", "detector.sick", "detector.suspect", "detector.vote", "detector.well",
	"gossip.departed forgotten", "gossip.exchange fails", "gossip.late answer", "gossip.refused", "gossip.withdrawn", "handover.begins",
	"handover.given up", "handover.loser stopped", "handover.overtaken by a view", "handover.settled",
	"host.behind one that stops", "host.dead letter", "host.held", "host.not owner", "host.parked", "host.slow to stop",
	"host.waited in vain", "leave.drained", "leave.row removed", "link.closed",
	"link.dial times out", "link.dialing", "link.lost", "link.open", "link.refused", "link.replaced", "link.silent",
	"link.stale epoch", "link.stranger", "link.waiting", "membership.back within grace", "membership.evicted",
	"membership.grace begins", "membership.held", "membership.ignored", "membership.installed", "membership.revised",
	"remote.blocked", "remote.unblocked", "restart.the old one goes on", "retry.busy", "retry.dead letter: stopped", "retry.no member",
	"retry.not after an unknown outcome", "retry.not owner", "retry.unreachable",
}
