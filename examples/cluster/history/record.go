package history

// The events.
const (
	Activated   = "activated"   // member: ID, Activation, Token
	Deactivated = "deactivated" // member: ID, Activation, Token
	Topology    = "topology"    // member: Hash, Members, Epoch
	Handled     = "handled"     // member: Request, ID, Activation
	Called      = "call"        // caller: Request, ID, Start, End, Outcome, Delivery, Activation
	Configured  = "config"      // driver: Config
	Spawned     = "spawned"     // driver: Member, Phase; Ns is when its process was started
	Killed      = "killed"      // driver: Member, Start; Start is before kill(2), Ns when it returned
	Stopping    = "stopping"    // driver: Member; asked to leave
	Exited      = "exited"      // driver: Member; its process is gone
	Load        = "load"        // driver: Phase is Begin or End
	Trouble     = "trouble"     // driver: Text says what kept it from its plan
	Interrupted = "interrupted" // driver: the user ended the run
	Left        = "left"        // driver: Count processes were left at the end; its last record
)

// The phases.
const (
	Form    = "form"    // Spawned: one of those that form the cluster
	Join    = "join"    // Spawned: one more
	Restart = "restart" // Spawned: in the place of one that left or was killed
	Begin   = "begin"   // Load
	End     = "end"     // Load
)

// Record is one line. Which fields are set depends on the event.
type Record struct {
	Ns         int64    `json:"ns"`
	Member     string   `json:"member,omitempty"`
	Event      string   `json:"event"`
	ID         string   `json:"id,omitempty"`
	Activation string   `json:"activation,omitempty"`
	Token      string   `json:"token,omitempty"`
	Hash       string   `json:"hash,omitempty"`
	Members    []string `json:"members,omitempty"`
	Epoch      uint64   `json:"epoch,omitempty"`   // with an ordered provider
	Request    uint64   `json:"request,omitempty"` // caller number × 2³² + a count from 1
	Start      int64    `json:"start,omitempty"`
	End        int64    `json:"end,omitempty"`
	Outcome    string   `json:"outcome,omitempty"`  // OK, Untyped, Unended, or the name of the sentinel or code
	Delivery   string   `json:"delivery,omitempty"` // undelivered, delivered or unknown
	Phase      string   `json:"phase,omitempty"`
	Count      int      `json:"count,omitempty"`
	Text       string   `json:"text,omitempty"`
	Config     *Config  `json:"config,omitempty"`
}

// Config is what the run was asked for.
type Config struct {
	Seed            uint64  `json:"seed"`
	Provider        string  `json:"provider"`
	Lookup          string  `json:"lookup"`
	Level           int     `json:"level"` // that the nodes were built for
	Members         int     `json:"members"`
	Callers         int     `json:"callers"`
	Identities      int     `json:"identities"`
	TimeoutSeconds  float64 `json:"timeoutSeconds"`
	RecoverySeconds float64 `json:"recoverySeconds"` // bound of a recovery
	Kill            bool    `json:"kill"`
	Join            bool    `json:"join"`
	Rolling         bool    `json:"rolling"`
}

// The outcomes of a call that are no name of a sentinel or code.
const (
	OK      = "ok"      // it was answered
	Untyped = "untyped" // its error is neither a sentinel of core nor a *grain.Error
	Unended = "unended" // it had not ended when its deadline was long over
)

// The deliveries of a call, as core.Delivery writes them.
const (
	undelivered = "undelivered"
	delivered   = "delivered"
)
