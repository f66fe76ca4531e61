package api

import (
	"bytes"
	"encoding/json"
)

// A list over many hosts is as long as all of theirs, and a map of every row of it
// would cost more than all the rest. So rows stay as the engines wrote them, and what
// the cluster adds is put in between.

// elements returns the values of an array. It must be JSON; null has none.
func elements(array []byte) (values []json.RawMessage, ok bool) {
	if !json.Valid(array) {
		return nil, false
	}
	array = bytes.TrimSpace(array)
	if array[0] != '[' {
		return nil, string(array) == "null"
	}
	for at := space(array, 1); array[at] != ']'; {
		end := past(array, at)
		values = append(values, array[at:end:end])
		at = after(array, end)
	}
	return values, true
}

// members returns the names of an object, in quotes, and their values, in turn. It
// must be JSON; what is no object has none.
func members(object []byte) (parts []json.RawMessage) {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	parts = make([]json.RawMessage, 0, 32)
	for at := space(object, 1); object[at] != '}'; {
		end := past(object, at)
		parts = append(parts, object[at:end:end])
		at = space(object, space(object, end)+1) // over the colon
		end = past(object, at)
		parts = append(parts, object[at:end:end])
		at = after(object, end)
	}
	return parts
}

// space returns where the next word begins.
func space(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r' {
		at++
	}
	return at
}

// after returns where the next value begins, or its brackets end.
func after(text []byte, end int) int {
	at := space(text, end)
	if text[at] == ',' {
		return space(text, at+1)
	}
	return at
}

// past returns where the value that begins at at ends.
func past(text []byte, at int) int {
	for depth := 0; ; at++ {
		switch text[at] {
		case '"':
			for at++; text[at] != '"'; at++ {
				if text[at] == '\\' {
					at++
				}
			}
		case '{', '[':
			depth++
			continue
		case '}', ']':
			depth--
		default:
			if depth > 0 {
				continue
			}
			for ; at < len(text) && !bytes.ContainsRune([]byte(",:]} \n\t\r"), rune(text[at])); at++ {
			}
			return at
		}
		if depth == 0 {
			return at + 1
		}
	}
}

// joined writes an object of members, or its like with other brackets.
type joined struct{ bytes.Buffer }

func (j *joined) add(parts ...[]byte) {
	if j.Len() > 1 {
		j.WriteByte(',')
	}
	for _, p := range parts {
		j.Write(p)
	}
}
