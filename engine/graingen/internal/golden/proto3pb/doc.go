// Package proto3pb is generated from a file of syntax proto3.
package proto3pb
