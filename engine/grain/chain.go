package grain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/granary-go/granary/core"
)

// MaxChain is how many grains may wait for each other in one chain of calls.
const MaxChain = 64

// ReasonCycle is the reason of the error of a call that would wait for itself.
const ReasonCycle = "CALL_CYCLE"

// AppendChain is chain with id at its end. Chain itself is not modified and may be shared.
func AppendChain(chain []core.Identity, id core.Identity) []core.Identity {
	return append(chain[:len(chain):len(chain)], id)
}

// InChain reports whether a turn of id waits for the end of this chain.
func InChain(chain []core.Identity, id core.Identity) bool { return slices.Contains(chain, id) }

// CheckChain tells why a call to to, made at the end of chain, can never be answered: its target
// waits for it, or the chain is longer than MaxChain. A reentrant method may be called all the same,
// as long as the chain is not too long. The error is Undelivered; of a cycle it names each grain.
func CheckChain(chain []core.Identity, to core.Identity, reentrant bool) error {
	if len(chain) >= MaxChain {
		return core.WithDelivery(Errorf(ResourceExhausted,
			"call %s: %d grains wait for each other already, the limit of a chain", to, len(chain)), core.Undelivered)
	}
	at := slices.Index(chain, to)
	if at < 0 || reentrant {
		return nil
	}
	var path strings.Builder
	for _, id := range chain[at:] {
		path.WriteString(id.String() + " → ")
	}
	return core.WithDelivery(&Error{
		Code:    FailedPrecondition,
		Reason:  ReasonCycle,
		Message: fmt.Sprintf("the call would wait for itself: %s%s; make the method reentrant, or use Tell", path.String(), to),
	}, core.Undelivered)
}
