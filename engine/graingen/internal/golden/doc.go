// Package golden holds what the generators make of a .proto file of each syntax, in one folder each.
// The tests of graingen, of protoc-gen-go-grain and of granary-gen compare with these files; being
// packages, they are compiled with everything else.
package golden
