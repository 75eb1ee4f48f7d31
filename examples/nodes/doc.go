// Package nodes holds tests of whole nodes that need more than one module: real lookups in real members
// that come and go. It is no example to start from.
package nodes
