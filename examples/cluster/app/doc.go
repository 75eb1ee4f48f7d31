// Package app is the program of examples/cluster: a driver that starts member processes and a caller
// process (itself, again, in another role), plans the changes of a run, and prints what happens.
//
// The processes talk over pipes, one JSON object a line. A child ends when its standard input does,
// so nothing is left running when the driver is killed.
//
// Each process writes its own records; what the run is worth is judged from those alone, by package
// history.
package app
