// Package sim runs pure state machines through seeded schedules of faults, in virtual time and on one
// goroutine, so that a run is repeated exactly by its seed.
//
// A Heap holds what is to happen. A Process is a program on some machine: it has timers and a clock of
// its own, it can be paused and killed. A Net carries datagrams and ordered pipes between processes
// over directed links, each with a delay, jitter, loss, duplication, reordering and cuts. A Backend is
// what a provider of membership keeps, with outages, stale reads and flaps; a Session is one member's
// end of it. NewSchedule draws the faults of a seed, Inject lets them happen, Shrink finds the shortest
// schedule that still fails, and Explore does all of it for many seeds on several cores.
//
// What a world built of these checks is its own: it reports Violations, and counts in a Tally what it
// checked and which states it came through, so that silence can be told from blindness.
//
// It is for tests and for programs that test; nothing in it is fit for production.
package sim
