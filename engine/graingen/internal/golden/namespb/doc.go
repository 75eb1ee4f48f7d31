// Package namespb is generated from a file that imports packages named like the parameters and receivers of
// generated methods.
package namespb
