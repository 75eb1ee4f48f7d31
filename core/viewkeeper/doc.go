// Package viewkeeper is a core.Provider over any backend that can keep one record by compare-and-set: it
// joins, renews, reports, judges silent members and leaves, and a plug-in says in a few methods how its
// product reads and writes.
//
// # Silent members
//
// Every member counts for itself: one whose lease was not renewed for a TTL, by the counter's own monotonic
// clock and since the counter saw the last renewal, is taken out of the record. Nobody's wall clock takes
// part. Whoever could not read for half a TTL starts to count anew, so an outage or a pause of the backend,
// however long, takes nobody out. A backend that watches leases itself (Watches) is believed instead, after a
// grace of 0.15 TTL in which a living member makes its lease again.
//
// # A lost row
//
// A member that is no longer listed in the lineage it joined was evicted, for good. Where the record is gone,
// or of another lineage that does not know its departure, the data was wiped: it stores its row again, under
// the same ID.
package viewkeeper
