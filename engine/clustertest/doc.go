// Package clustertest runs whole clusters in one process, for tests of grains and of what is built
// on them: members share a memory.Hub and a remote.Memory network, and talk through the same code as over
// TCP. Inside testing/synctest time is virtual there, and no test waits.
//
// # Faults
//
//	Kill              a member crashes; Restart starts another process at its address
//	Pause, Resume     it stands still, as under SIGSTOP
//	Cut, CutOneWay    nothing arrives from the other; Partition parts whole groups; Heal and HealAll mend
//	Drop              connections are lost with whatever is on them
//	Slow              everything takes longer
//	CutProvider       the provider is out of reach, of one or, by Outage, of all; StaleProvider lags behind
//	SetClock, SetRate the wall clock jumps; clocks run fast or slow
//
// What comes of a fault is the code's that ships: a member is silent, is voted out or not, and calls end as
// they would. Tests of time, such as how long a member may be paused until it is removed, want a short
// Config.Hub.TTL and a bubble of testing/synctest.
package clustertest
