package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxCPU is past any CPU id of a real machine; it keeps a mad list small.
const maxCPU = 1 << 14

// parseCPUs reads the kernel's and Docker's notation for sets of CPUs, such as
// "0-3,8". The ids come ascending and once; an empty list is nil.
func parseCPUs(list string) ([]int, error) {
	var ids []int
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		low, high, ranged := strings.Cut(part, "-")
		first, err := strconv.Atoi(low)
		last := first
		if err == nil && ranged {
			last, err = strconv.Atoi(high)
		}
		if err != nil || first < 0 || last < first || last > maxCPU {
			return nil, fmt.Errorf("parse cpu list %q: bad part %q", list, part)
		}
		for id := first; id <= last; id++ {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// formatCPUs writes ids the way parseCPUs reads them, without ranges.
func formatCPUs(ids []int) string {
	var b strings.Builder
	for i, id := range ids {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(id))
	}
	return b.String()
}
