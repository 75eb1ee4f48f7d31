// Package granarypb is generated: what Granary adds to the inherited wire line: proto package
// granary. Its values travel inside own fields and may go to any peer; its messages go only to peers
// whose handshake announced them.
package granarypb
