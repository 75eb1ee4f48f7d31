package core

import "errors"

// The sentinels. They are tested with errors.Is, also after they crossed the wire; beside each
// stands who returns it.
var (
	ErrInvalid     = errors.New("invalid")      // NewView, ParseIdentity, every New
	ErrUnsupported = errors.New("unsupported")  // cluster.New: a promise or interface is missing
	ErrNotFound    = errors.New("not found")    // Store.Get
	ErrConflict    = errors.New("conflict")     // Store, ViewStore.SwapView, Provider.Join, Host.Activate
	ErrFenced      = errors.New("fenced")       // Fencer, Host.Activate
	ErrEvicted     = errors.New("evicted")      // MemberLeases.RenewLease, Provider.Update; final
	ErrNoMember    = errors.New("no member")    // Lookup.Resolve
	ErrNoKind      = errors.New("unknown kind") // Lookup.Resolve, Host.Activate
	ErrNotOwner    = errors.New("not owner")    // Lookup.Handle, Lookup.Resolve
	ErrBusy        = errors.New("busy")         // acquiring, guard, draining, still stopping
	ErrOverloaded  = errors.New("overloaded")   // Host.Activate, any bounded queue
	ErrUnreachable = errors.New("unreachable")  // the backend or member could not be reached
	ErrStopped     = errors.New("stopped")      // anything after Stop or Leave
)
