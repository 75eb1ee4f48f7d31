// Package proto2pb is generated from a file of syntax proto2.
package proto2pb
