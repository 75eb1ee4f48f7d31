// Package req is generated from a message that another file imports.
package req
