// Package clusterpb is generated: members, topologies, gossip, grain calls and topics as they
// cross the wire: proto package cluster.
package clusterpb
