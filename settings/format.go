package settings

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Format writes the settings as an info.json without hosts, indented for a
// person. Parse reads it back to an equal value.
func (s Settings) Format() []byte {
	var b bytes.Buffer
	b.WriteString("{\n")
	block(&b, `"type": {`, "}", formatTypes(s.Types))
	fmt.Fprintf(&b, "  \"buffer\": {\n    \"cpu\": %d,\n    \"mem\": %s\n  },\n\n",
		s.Buffer.Cores, formatGiB(s.Buffer.Memory))
	fmt.Fprintf(&b, "  \"start_port_num\": %d,\n\n", s.StartPort)
	fmt.Fprintf(&b, "  \"image_replicas\": %d,\n  \"image_disk_percent\": %d,\n\n", s.ImageReplicas, s.ImageDisk)
	fmt.Fprintf(&b, "  \"visibility\": %s,\n", quote(cmp.Or(s.Visibility, VisibleAll)))
	fmt.Fprintf(&b, "  \"bind_roots\": [%s],\n", strings.Join(quoteAll(s.BindRoots), ", "))
	fmt.Fprintf(&b, "  \"allow\": [%s],\n\n", strings.Join(quoteAll(s.Allowed()), ", "))
	block(&b, `"additional_options": [`, "]", quoteAll(s.Options))
	return append(bytes.TrimSuffix(b.Bytes(), []byte(",\n\n")), "\n}\n"...)
}

// block writes rows between an opening and a closing bracket, then a comma.
func block(b *bytes.Buffer, open, shut string, rows []string) {
	if len(rows) == 0 {
		fmt.Fprintf(b, "  %s%s,\n\n", open, shut)
		return
	}
	fmt.Fprintf(b, "  %s\n    %s\n  %s,\n\n", open, strings.Join(rows, ",\n    "), shut)
}

func formatTypes(types []Type) []string {
	rows := make([]string, len(types))
	for i, t := range types {
		rows[i] = fmt.Sprintf("%s: [%d, %s, %s]",
			quote(t.Name), t.Cores, formatGiB(t.Memory), quote(strings.Join(t.GPUs, ",")))
	}
	return rows
}

// formatGiB writes bytes as GiB. Dividing by a power of two loses nothing, so
// the shortest decimal reads back to the same bytes.
func formatGiB(n int64) string {
	return strconv.FormatFloat(float64(n)/gib, 'f', -1, 64)
}

func quoteAll(texts []string) []string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return quoted
}

// quote writes a JSON string and leaves <, > and & readable.
func quote(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err) // a string always encodes
	}
	return strings.TrimSpace(b.String())
}
