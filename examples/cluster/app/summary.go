package app

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/granary-go/granary/examples/cluster/history"
)

// printSummary is the table at the end, for people.
func printSummary(out io.Writer, s *history.Summary) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("cluster", "%d members at the end, %s and %s, Level %d", s.Members, s.Provider, s.Lookup, s.Level)
	row("formed in", "%s", took(s.FormSeconds))
	row("load", "%.1f s, %d callers, %d identities", s.LoadSeconds, s.Callers, s.Identities)
	row("calls", "%d = %d replied + %d failed", s.Calls, s.Replied, s.Failed)
	row("failed", "%d not delivered, %d delivered, %d unknown; %d after a recovery", s.FailedNotDelivered, s.FailedDelivered, s.FailedUnknown, s.FailedAfterRecovery)
	row("run twice", "%d", s.ExecutedTwice)
	row("rate", "%.0f calls/s; p50 %.0f µs, p99 %.0f µs, p99.9 %.0f µs, most %.0f µs", s.CallsPerSecond, s.P50Micros, s.P99Micros, s.P999Micros, s.MaxMicros)
	row("changes", "%d killed, %d joined, %d restarted", s.Kills, s.Joins, s.Restarts)
	if s.Restarts > 0 {
		row("calls begun in each restart", "%v", s.Replacing)
	}
	row("detected in", "%s", took(s.DetectSeconds))
	row("recovered in", "%s (until every identity answered again)", took(s.RecoverySeconds))
	row("rebalanced in", "%s", took(s.RebalanceSeconds))
	row("identities checked", "%v", s.IdentitiesChecked)
	row("activations", "%d, %d moved; two at once: %d before agreement, %d after", s.Activations, s.Moved, s.Overlaps, s.DuplicateActivations)
	row("processes left", "%d", s.ProcessesLeft)
	_ = w.Flush() // the writer is the terminal: nobody is left to tell
	switch {
	case !s.OK:
		fmt.Fprintln(out, "\nFAILED")
		for _, r := range s.Reasons {
			fmt.Fprintf(out, "  %s\n", r)
		}
	case s.Interrupted:
		fmt.Fprintln(out, "\ninterrupted; nothing had failed")
		for _, r := range s.Reasons {
			fmt.Fprintf(out, "  %s\n", r)
		}
	default:
		fmt.Fprintln(out, "\nok: every condition held")
	}
}

func took(s *float64) string {
	if s == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f s", *s)
}
