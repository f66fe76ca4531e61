package gpu

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// none is how nvidia-smi writes a reading that there is not.
const none = "N/A"

// draw writes what is known in the manner of nvidia-smi.
func draw(w io.Writer, s *State) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Driver Version: %s   CUDA Version: %s\n", cmp.Or(s.Driver, none), cmp.Or(s.CUDA, none))
	var cards, processes [][]string
	for i := range s.Cards {
		c := &s.Cards[i]
		memory := none
		if c.Memory > 0 {
			memory = fmt.Sprintf("%s / %s", mib(c.Used), mib(c.Memory))
		}
		cards = append(cards, []string{
			c.Index, c.Model, cmp.Or(c.Bus, none), amount(c.Temperature, 1, "C"), amount(c.Power, 1000, "W"), memory, amount(c.Utilization, 1, "%"),
		})
		for _, p := range c.Processes {
			const short = 12 // digits of an ID, as docker prints it
			memory := none
			if p.Memory != Unread {
				memory = mib(p.Memory)
			}
			processes = append(processes, []string{
				c.Index, strconv.Itoa(p.PID), cmp.Or(p.Container[:min(short, len(p.Container))], none), p.User, p.Command, memory,
			})
		}
	}
	grid(&b, []string{"GPU", "Name", "Bus-Id", "Temp", "Power", "Memory-Usage", "GPU-Util"}, cards)
	if len(processes) == 0 {
		b.WriteString("\nNo running processes found\n")
	} else {
		b.WriteString("\nProcesses:\n")
		grid(&b, []string{"GPU", "PID", "Container", "User", "Command", "GPU Memory"}, processes)
	}
	if s.Reason != "" {
		fmt.Fprintf(&b, "\nNot shown: %s\n", s.Reason)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// amount writes a reading in its unit, of which it holds so many parts.
func amount(value, parts int, unit string) string {
	if value == Unread {
		return none
	}
	return strconv.Itoa(value/parts) + unit
}

func mib(bytes int64) string { return strconv.FormatInt(bytes>>20, 10) + "MiB" }

// grid draws a table with lines around and between.
func grid(b *strings.Builder, head []string, rows [][]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	line := func(fill string) {
		for _, n := range widths {
			b.WriteString("+" + strings.Repeat(fill, n+2))
		}
		b.WriteString("+\n")
	}
	write := func(row []string) {
		for i, cell := range row {
			fmt.Fprintf(b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
	}
	line("-")
	write(head)
	line("=")
	for _, row := range rows {
		write(row)
	}
	line("-")
}
