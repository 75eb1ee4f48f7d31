// Package servers runs the servers that Granary's plug-ins are tested against, and that the cluster example
// starts where none is named: real ones, on free ports of loopback, which end with the program that started
// them.
package servers
