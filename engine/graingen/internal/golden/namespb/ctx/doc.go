// Package ctx is generated from a message that another file imports.
package ctx
