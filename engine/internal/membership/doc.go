// Package membership decides which views of the cluster a node installs, and what subscribers are told
// of it. All of it is pure: no goroutine, lock, clock or I/O, so that random schedules can be tried by
// the million.
//
//   - List turns the reports of a provider into topologies, and finds this node's own eviction.
//   - Reducer is a List with a memory in time: it refuses who is banned, and, where views have no
//     order, keeps members that are missing for a short while only. Time is handed in.
//   - Events turns what they do, and what detector and endpoints tell, into typed events.
//
// Members are told apart by ID, never by address. An ordered view is installed as it is reported, since
// every member must have the same one under the same epoch: a ban then refuses traffic, and accuses.
package membership
