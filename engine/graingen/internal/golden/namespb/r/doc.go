// Package r is generated from a message that another file imports.
package r
