package harness

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the report for people.
func WriteTable(w io.Writer, r Report) error {
	fmt.Fprintf(w, "%s, %s, peer %s, %d rounds, %.0f s\n", r.CPU, r.Go, r.Peer, r.Rounds, r.Seconds)
	fmt.Fprintln(w, "median (least–greatest); ratios are peer ÷ Granary, above 1 Granary is ahead")
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tmetric\tGranary\tpeer\tratio wall\tratio CPU\tfloor\tallocs/op\tpeer\tok")
	for _, row := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.1f\t%.2f\t%.2f\t%s\n", row.Row, row.Metric,
			figures(row.Granary, row.GranaryMin, row.GranaryMax), figures(row.Peer, row.PeerMin, row.PeerMax),
			row.RatioWall, row.RatioCPU, row.Floor, row.Allocs, row.PeerAllocs, verdict(row))
		for _, name := range sortedKeys(row.Extra) {
			p := row.Extra[name]
			fmt.Fprintf(t, "\t%s\t%s\t%s\t\t\t\t\t\t\n", name, short(p.Granary), short(p.Peer))
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Notes != "" {
			fmt.Fprintf(w, "%s: %s\n", row.Row, row.Notes)
		}
	}
	_, err := fmt.Fprintln(w, Summary(r))
	return err
}

// Reasons are what makes a report not ok, a sentence each; none if it is ok.
func Reasons(r Report) []string {
	reasons := []string{}
	if r.Interrupted {
		reasons = append(reasons, "interrupted")
	}
	if r.Error != "" {
		reasons = append(reasons, r.Error)
	}
	for _, row := range r.Rows {
		if !row.OK {
			reasons = append(reasons, strings.TrimSuffix("row "+row.Row+" is below its floor or failed; "+row.Notes, "; "))
		}
	}
	return reasons
}

// Summary is the last line of the table.
func Summary(r Report) string {
	var below []string
	for _, row := range r.Rows {
		if !row.OK {
			below = append(below, row.Row)
		}
	}
	switch {
	case r.Error != "":
		return "bench: " + r.Error
	case r.Interrupted:
		return "bench: interrupted"
	case len(below) > 0:
		return fmt.Sprintf("bench: %d of %d rows below their floor or failed: %s", len(below), len(r.Rows), strings.Join(below, " "))
	default:
		return fmt.Sprintf("bench: %d rows, all at or above their floor", len(r.Rows))
	}
}

func verdict(row RowReport) string {
	switch {
	case !row.OK:
		return "NO"
	case !row.AllocsOK:
		return "yes, but allocs"
	default:
		return "yes"
	}
}

func figures(median, least, greatest float64) string {
	return fmt.Sprintf("%s (%s–%s)", short(median), short(least), short(greatest))
}

// short prints four significant digits, and whole numbers above that.
func short(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

func sortedKeys(m map[string]Pair) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
