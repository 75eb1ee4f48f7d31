// Package history is the judge of examples/cluster. Each process of a run writes what it did, line
// by line, into a file of its own; Judge reads those files alone and computes the summary. It shares
// no code with the engine, so that a fault there cannot hide here.
//
// A line is one JSON object. Ns is CLOCK_MONOTONIC, which all processes of one machine share. The
// events are those of members (activated, deactivated, topology, handled), of callers (call), and of
// the driver (config, spawned, killed, stopping, exited, load, trouble, interrupted, left).
//
// A run of some minutes has millions of calls. They are read as a stream, twice at most: what is kept
// is a few bits a request, one time an identity and change, and counts.
package history
