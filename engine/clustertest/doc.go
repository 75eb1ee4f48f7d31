// Package clustertest runs whole clusters in one process, for tests of grains and of what is built
// on them: members share a memory.Hub and a remote.Memory network, talk through the same code as over
// TCP, and can be killed, cut off and healed. It works inside testing/synctest, where no test waits.
package clustertest
