// Package history is the judge of examples/cluster. Each process of a run writes what it did, line
// by line, into a file of its own; Check reads those files alone and computes the summary. It shares
// no code with the engine, so that a fault there cannot hide here.
//
// A line is one JSON object. Ns is CLOCK_MONOTONIC, which all processes of one machine share. The
// events are those of members (activated, deactivated, topology, handled), of callers (call), and of
// the driver (config, spawned, killed, exited, load, left).
package history
