// Package actorpb is generated: the messages of the local runtime as they cross the wire: proto
// package actor.
package actorpb
