package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// texts returns the files that the mutant changes, as they are with the defect, by their
// paths beneath root.
func (m *mutant) texts(root string) (map[string]string, error) {
	texts := map[string]string{}
	for _, e := range m.edits {
		text, read := texts[e.file]
		if !read {
			whole, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, fmt.Errorf("%s: mutant %s: %w", m.at, m.name, err)
			}
			text = string(whole)
		}
		at := linesAt(text, e.old)
		if len(at) != 1 {
			return nil, fmt.Errorf("%s: mutant %s: its old text is %d times in %s, want once:\n%s", m.at, m.name, len(at), e.file, e.old)
		}
		texts[e.file] = text[:at[0]] + e.new + text[at[0]+len(e.old):]
	}
	return texts, nil
}

// linesAt returns where the lines stand in the text, which all end.
func linesAt(text, lines string) (at []int) {
	for i := 0; i < len(text) && lines != ""; {
		if strings.HasPrefix(text[i:], lines) {
			at = append(at, i)
		}
		end := strings.IndexByte(text[i:], '\n')
		if end < 0 {
			break
		}
		i += end + 1
	}
	return at
}

// plant writes the mutant's files into dir, and returns the overlay that has go build them
// in place of the true ones.
func (m *mutant) plant(root, dir string) (overlay string, err error) {
	texts, err := m.texts(root)
	if err != nil {
		return "", err
	}
	var o struct{ Replace map[string]string }
	o.Replace = map[string]string{}
	for file, text := range texts {
		planted := filepath.Join(dir, strconv.Itoa(len(o.Replace))+"_"+filepath.Base(file))
		if err := os.WriteFile(planted, []byte(text), 0o600); err != nil {
			return "", err
		}
		o.Replace[filepath.Join(root, file)] = planted
	}
	list, err := json.Marshal(o)
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, list, 0o600)
}
