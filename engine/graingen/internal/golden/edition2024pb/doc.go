// Package edition2024pb is generated from a file of edition 2024.
package edition2024pb
