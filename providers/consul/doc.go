// Package consul is a membership provider that keeps the cluster in Consul, by github.com/hashicorp/consul/api.
//
// Applications make a provider with New (or with Set, under google/wire) and hand it to cluster.Components; they
// call nothing else of it. It speaks with one agent, as a rule that of its own machine.
//
// # Mode Record
//
// One key, granary/NAME/view, holds the ordered view of all members as JSON, changed by check-and-set on its
// modify index. Each member holds the key granary/NAME/lease/ID with a session of its own that only its TTL ends:
// no health check is bound to it, so a word of Consul's gossip ends nobody. Consul removes that key with the
// session, and the other members then take the row out, after 0.15 TTL in which a living member makes its lease
// again. What takes a member out removes its lease in the same transaction, so that a renewal after it fails.
// Reads are consistent; a blocking query on the keys tells of news, and every quarter of a TTL the record is read
// without any.
//
// It promises Ordered, Linearizable and Leases. A member that was killed is out within 2.15 TTL, which is 22 s with
// the least TTL that Consul allows unless told otherwise; votes of the other members take it out within seconds.
//
// Beside its row each member has an entry in the service catalogue, under the name of the cluster, for health
// pages, DNS and other readers. No member reads it, and its loss harms nothing.
//
// # Mode Catalog
//
// Each member is a service with a TTL check of 3 s that it refreshes each second, written as Proto.Actor's members
// write it. The catalogue has no compare-and-set and no order, so the mode promises nothing but Compat. A member
// counts while its checks pass; an answer without any living member, or without the member that asks, tells of an
// agent that was away, and changes nothing. A member whose entry the agent has lost registers again.
//
// # Losses
//
// While Consul is away nothing changes: members keep the view that they have. When it is back with its data, they
// go on; when its data are lost they store themselves again, under the same IDs (see core/viewkeeper for what a
// lost row means). A record that was edited by hand and cannot be read is never overwritten.
//
// A record is bound by what one transaction of Consul holds (Config.MaxRequest): about 1,700 members with the
// default. What would be larger is refused before it is sent.
//
// # Access
//
// In mode Record the policy of the token needs
//
//	key_prefix "granary/NAME/" { policy = "write" }
//	session_prefix ""          { policy = "write" }
//	service "NAME"             { policy = "write" } # for the entry in the catalogue
//	agent_prefix ""            { policy = "read" }  # for the check of the version at the start
//
// of which the last two may be left out: then there is no entry, and the version is taken for good. In mode Catalog
// it needs
//
//	service "NAME" { policy = "write" }
//	node_prefix "" { policy = "read" }
package consul
