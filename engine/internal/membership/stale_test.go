package membership

import (
	"testing"

	"github.com/granary-go/granary/core"
)

// A report from the past lists the earlier process of an address again and the present one not: the
// earlier one stays out, and the present one is back with the next report.
func TestOldReportDoesNotRetireThePresent(t *testing.T) {
	was, is := row("old", "h:7", 1), row("new", "h:7", 1)
	leaving := was
	leaving.Status = core.Leaving
	for name, before := range map[string][]core.Member{"it left": {was, leaving}, "it died": {was}} {
		t.Run(name, func(t *testing.T) {
			x := newTester(t, unordered("s", 0))
			for _, m := range before {
				x.report(self, m, b)
			}
			x.report(self, b)
			x.report(self, b, is)
			x.report(self, b, before[len(before)-1])
			x.wantView("b", "s")
			x.report(self, b, is)
			x.wantView("b", "new", "s")
		})
	}
}
