package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// maxStep bounds what one call of After looks through, in bytes: many entries.
const maxStep = 1 << 20

// Position is a place between two entries of one log.
type Position struct {
	number int
	offset int64
}

// String writes the position for ParsePosition.
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.number, p.offset) }

// ParsePosition reads what String wrote.
func ParsePosition(text string) (p Position, err error) {
	if _, err := fmt.Sscanf(text, "%d:%d", &p.number, &p.offset); err != nil || p.number < 0 || p.offset < 0 || p.String() != text {
		return Position{}, fmt.Errorf("%q is no position in an audit log", text)
	}
	return p, nil
}

// Last returns the newest n of the chosen entries, oldest first, and the end of the log.
func (l *Log) Last(f Filter, n int) (lines []json.RawMessage, end Position, err error) {
	end = l.end()
	numbers, err := l.numbers()
	if err != nil {
		return nil, end, fmt.Errorf("read audit log: %w", err)
	}
	for _, number := range slices.Backward(numbers) {
		size := int64(maxFile)
		if number == end.number {
			size = end.offset
		} else if number > end.number {
			continue // begun since
		}
		data, err := l.read(number, 0, size)
		if err != nil {
			return nil, end, fmt.Errorf("read audit log: %w", err)
		}
		older, late := f.from(data)
		lines = append(older, lines...)
		if len(lines) >= n || !late && len(data) > 0 {
			break // what is older still is too old
		}
	}
	return lines[max(0, len(lines)-n):], end, nil
}

// After returns the chosen entries that follow a position, oldest first, and where the next
// call goes on. It looks through a bounded part: where there is more, the next call has it.
// A position whose file is gone goes on with the oldest that there is.
func (l *Log) After(p Position, f Filter) (lines []json.RawMessage, next Position, err error) {
	numbers, err := l.numbers()
	if err != nil {
		return nil, p, fmt.Errorf("read audit log: %w", err)
	}
	if len(numbers) == 0 {
		return nil, p, nil
	}
	if !slices.Contains(numbers, p.number) {
		p = Position{numbers[0], 0}
	}
	for {
		data, err := l.read(p.number, p.offset, maxStep)
		if err != nil {
			return nil, p, fmt.Errorf("read audit log: %w", err)
		}
		data = data[:bytes.LastIndexByte(data, '\n')+1] // of what is being written, later
		if len(data) > 0 {
			lines, _ = f.from(data)
			p.offset += int64(len(data))
			return lines, p, nil
		}
		at := slices.Index(numbers, p.number)
		if at == len(numbers)-1 {
			return nil, p, nil
		}
		p = Position{numbers[at+1], 0}
	}
}
