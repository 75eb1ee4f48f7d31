// Package parts is every exchangeable part of a node, written by an application: a store of files in a folder,
// membership and an identity lookup on top of any store, and a strategy. They are for processes of one machine
// that share a folder.
package parts
