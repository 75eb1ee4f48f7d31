// Package redis is membership and a store in Redis, by go-redis: a Provider (core.Provider) and a Store
// (core.Store), each on a Client.
//
//	client, cleanup, err := redis.Open(redis.Config{Address: "10.0.0.5:6379"})
//	members, err := redis.NewProvider(redis.ProviderConfig{Name: "shop"}, client)
//
// Sentinel and Cluster come by Use, with a client that the application has made.
//
// # What is kept
//
// NAME is ProviderConfig.Name, PREFIX is StoreConfig.Prefix. All keys of a cluster of members have one hash tag, and
// a group of a store has one key, so that each script runs on one node of a Redis Cluster. No key of a Provider
// expires.
//
//	key                     type     field      value
//	{granary:NAME}:view     hash     record     the view record, JSON of core.ViewRecord (format 1)
//	                                 id         its write ID; a write is refused unless it names the one before
//	{granary:NAME}:leases   hash     member ID  how often the member has renewed, in decimal
//	{granary:NAME}:news     channel             the write ID of each new record; what is missed is found by a poll
//	PREFIX + group          hash     c          the greatest token that has claimed the group, 32 hex digits
//	                                 i + name   revision, 16 hex digits, then the value
//
// # What the user may do
//
// An ACL user needs the keys and the channel above and these commands:
//
//	ACL SETUSER granary on >PASSWORD ~{granary:*}:* ~granary:store:* &{granary:*}:news
//	    +eval +evalsha +info +hget +hgetall +hexists +hset +hdel +publish +subscribe +ping
//	    (for a Store also +hscan, and +pexpire with StoreConfig.TTL; for a Cluster +cluster|slots +cluster|shards)
//
// A join asks for all of them but subscribe, and is refused with an error that names what is missing. Without
// subscribe members see changes up to a sixteenth of a TTL later.
//
// # What is promised
//
// Views are ordered (core.Promises.Ordered), a member that was killed is taken out within 1.27 TTL of its last
// renewal and the time of a write (13 s by default; votes of the members are quicker), and an outage or a pause of
// the server, however long, takes nobody out. Nobody's wall clock takes part. Leases are not promised: there is
// nothing on the server that ends them.
//
//	deployment                    what it keeps of what it has answered                       levels
//	one server, appendfsync       all of it, also when it is killed; set SingleNode, and      0, 1; 3 with a Store that
//	always, no replicas           it is Linearizable. While it is away nobody joins           is as safe
//	one server, other settings    all while it runs; when it is killed, up to the last        0
//	                              second (everysec), or all (no persistence)
//	replicas, Sentinel            a fail-over loses what the old master had not yet sent      0
//	Redis Cluster                 the same for a master with replicas; without, its slots     0
//	                              are away until it is back
//
// What a loss does: where the record is gone, is of another lineage, or is older than one that listed a member, the
// first member that finds this out stores itself again under its ID, and with it all that its last view had; no call
// fails for it. A member whose join was
// lost, and who finds that others have changed the members since, was evicted for all that can be told: its node
// ends with core.ErrEvicted and is started again. An eviction or a leave that was lost shows a member that has gone,
// until its lease has run out. In a Store, what was lost is gone, and claims with it: an older activation is not
// refused any more, so Level 3 needs the first deployment.
//
// # Errors
//
// They name the server and what to do. Of a Join, a wrong password, a command that is forbidden, a key that is
// somebody else's, a server before Redis 6, and a TLS handshake that cannot succeed, are final; anything else is
// tried again until the context ends, and logged. A command under way ends with its answer, or after Config.Timeout
// at the latest, also when its context ends before.
package redis
