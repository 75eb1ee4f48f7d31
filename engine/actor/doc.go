// Package actor runs actors within one process: it knows no network and no protobuf.
package actor
