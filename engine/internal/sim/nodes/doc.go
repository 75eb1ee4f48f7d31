// Package nodes runs seeded schedules of faults against whole nodes: the code that ships, gRPC over
// connections in memory and the lookup disthash, each schedule in a bubble of testing/synctest, where time
// is virtual and a run that leaves a goroutine behind fails. The schedules are those of core/sim, as are
// their shrinking and the comparison of traces.
//
// What links of packets do to streams is that they become late: loss is a retransmission that holds up
// what follows, reordering is a delay that changes all the time, and nothing comes twice, so that there is
// no duplication here.
//
// Time is virtual but the schedule of goroutines is not decided by the seed. Runs are the same since no two
// things happen at one instant that could tell their order: every link and every caller has a delay of its
// own, drawn in nanoseconds.
package nodes
