package history

// Summary is the one object that a run prints. Times are in the unit of their names; nil means that
// it did not take place.
type Summary struct {
	Schema      int      `json:"schema"`
	OK          bool     `json:"ok"`
	Reasons     []string `json:"reasons"` // which conditions failed; empty if ok
	Interrupted bool     `json:"interrupted"`
	Seed        uint64   `json:"seed"`
	Provider    string   `json:"provider"`
	Lookup      string   `json:"lookup"`
	Level       int      `json:"level"`
	Members     int      `json:"members"` // in the topology that all agreed on at the end, before they were stopped
	Callers     int      `json:"callers"`
	Identities  int      `json:"identities"`
	LoadSeconds float64  `json:"loadSeconds"`

	FormSeconds *float64 `json:"formSeconds"`
	Kills       int      `json:"kills"`
	Joins       int      `json:"joins"`
	Restarts    int      `json:"restarts"`
	Replacing   []int    `json:"callsInRestarts"` // calls of the load begun in each restart: from the order to leave until it was recovered

	Calls               int   `json:"calls"`
	Replied             int   `json:"replied"`
	Failed              int   `json:"failed"`
	FailedNotDelivered  int   `json:"failedNotDelivered"`
	FailedDelivered     int   `json:"failedDelivered"`
	FailedUnknown       int   `json:"failedUnknown"`
	Untyped             int   `json:"untyped"`
	Late                int   `json:"late"`
	FailedAfterRecovery int   `json:"failedAfterRecovery"`
	ExecutedTwice       int   `json:"executedTwice"`
	RefusedButRun       int   `json:"refusedButRun"`     // requests that ran although their caller was told that they had not
	AnsweredNotRun      int   `json:"answeredNotRun"`    // requests that were answered and that no member has run
	IdentitiesChecked   []int `json:"identitiesChecked"` // that answered after forming and after each change

	Activations          int `json:"activations"`
	Moved                int `json:"moved"`
	Overlaps             int `json:"overlaps"`
	DuplicateActivations int `json:"duplicateActivations"`

	DetectSeconds    *float64 `json:"detectSeconds"`
	RecoverySeconds  *float64 `json:"recoverySeconds"`
	RebalanceSeconds *float64 `json:"rebalanceSeconds"`

	CallsPerSecond float64 `json:"callsPerSecond"` // answered, while the load lasted
	P50Micros      float64 `json:"p50Micros"`
	P99Micros      float64 `json:"p99Micros"`
	P999Micros     float64 `json:"p999Micros"`
	MaxMicros      float64 `json:"maxMicros"`
	ProcessesLeft  int     `json:"processesLeft"`
}

// newSummary is the summary of a run of which nothing is known but what it was asked for.
func newSummary(c Config) *Summary {
	return &Summary{Schema: 1, Reasons: []string{}, Seed: c.Seed, Provider: c.Provider, Lookup: c.Lookup,
		Level: c.Level, Callers: c.Callers, Identities: c.Identities, Replacing: []int{}, IdentitiesChecked: []int{}}
}

// Failed is the summary of a run that did not take place, and why.
func Failed(c Config, reasons ...string) *Summary {
	s := newSummary(c)
	s.Reasons = append(s.Reasons, reasons...)
	return s
}

func seconds(from, until int64) *float64 {
	if until == never {
		return nil
	}
	s := float64(until-from) / 1e9
	return &s
}

// later is the longer of two times, either of which may not have taken place.
func later(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}
