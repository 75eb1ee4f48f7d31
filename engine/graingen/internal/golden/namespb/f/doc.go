// Package f is generated from a message that another file imports.
package f
