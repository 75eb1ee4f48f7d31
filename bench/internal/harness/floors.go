package harness

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Floors is the least ratio of each row.
type Floors map[string]float64

// ReadFloors reads lines of a row's name and its floor. '#' starts a comment.
func ReadFloors(r io.Reader) (Floors, error) {
	floors := Floors{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("floors: line %d: want a row and a number", n)
		}
		floor, err := strconv.ParseFloat(fields[1], 64)
		if err != nil || floor <= 0 {
			return nil, fmt.Errorf("floors: line %d: %q is not a ratio above 0", n, fields[1])
		}
		if _, twice := floors[fields[0]]; twice {
			return nil, fmt.Errorf("floors: line %d: row %q is there twice", n, fields[0])
		}
		floors[fields[0]] = floor
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("floors: %w", err)
	}
	return floors, nil
}
