package memory

// Lie is a promise that the providers of a hub break, though Promises still makes it: for tests that
// must notice.
type Lie uint8

// The lies.
const (
	Honest        Lie = iota
	LieOrder          // Ordered: after each view, the one before it is reported again
	LieSwap           // Linearizable: SwapView stores whatever it is given, whatever is stored
	LieRenewal        // Leases: renewal succeeds for who was evicted
	LieExpiry         // a member that vanished stays listed
	LieUpdate         // Update says that it stored what it did not store
	LieLeave          // Leave says that the row is removed, and it stays
	LieAfterLeave     // a report comes after Leave has returned
	LieID             // a departed ID is admitted again

	lastLie = LieID
)

// String is the lie's name.
func (l Lie) String() string {
	names := [...]string{"honest", "order", "swap", "renewal", "expiry", "update", "leave", "after leave", "id"}
	if int(l) < len(names) {
		return names[l]
	}
	return "unknown"
}
