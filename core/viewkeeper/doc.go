// Package viewkeeper is a core.Provider over any backend that can keep one record by compare-and-set: it
// joins, renews, reports, judges silent members and leaves, and a plug-in says in a few methods how its
// product reads and writes.
//
// # Silent members
//
// Every member counts for itself: one whose lease was not renewed for a TTL and a grace of a fifth of it, by the
// counter's own monotonic clock and since the counter saw the last renewal, is taken out of the record. Nobody's
// wall clock takes part. A renewal is seen a sixteenth of a TTL late at most, so a member that was killed is out
// within 1.27 TTL of its last renewal and the time of a write. Whoever could not read, or not renew its own lease,
// for half a TTL starts to count anew, so an outage or a pause of the backend, however long, takes nobody out. A backend that watches leases
// itself (Watches) is believed instead, after a grace of 0.15 TTL in which a living member makes its lease again.
//
// # A lost row
//
// A member that is no longer listed in the lineage it joined was evicted, for good. Where the record is gone, is
// of another lineage, or of an epoch before one that listed the member, and does not know its departure, data were
// lost: it stores its row again, under the same ID, and those of the others that its last view had, so that nobody
// is missing for a moment; who is not there any more goes as a silent member does. A member whose lease somebody drives (RenewLease) does not:
// whoever drives it counts on its loss being final.
//
// # Records of others
//
// A record that cannot be read, or is of another format, is never overwritten: members keep the view that they
// have and say so in their log, and a join is refused.
package viewkeeper
