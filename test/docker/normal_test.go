package docker

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// rewrite evens out what differs from run to run wherever it stands.
type rewrite struct {
	pattern *regexp.Regexp
	by      string
}

// rewrites are applied in this order to every line and every string.
var rewrites = []rewrite{
	{regexp.MustCompile(`\r`), `\r`},
	{regexp.MustCompile(`/tmp/ddocker-lab-[0-9]+/h[0-9]/d?docker\.sock`), `<socket>`},
	{regexp.MustCompile(`/tmp/ddocker-lab-[0-9]+/h[0-9]`), `<host's directory>`},
	{regexp.MustCompile(`/tmp/Test[A-Za-z]+[0-9]+/[0-9]+`), `<directory>`},
	{regexp.MustCompile(`\b[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+)?( ?(Z|[+-][0-9]{2}:?[0-9]{2}))?( UTC)?`), `<time>`},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), `<id>`},
	{regexp.MustCompile(`\b[0-9a-f]{12}\b`), `<id>`},
	{regexp.MustCompile(`\b[0-9a-f]{14}…`), `<id>…`},
	{regexp.MustCompile(`\b(Less than a second|About an? (minute|hour)|[0-9]+ (second|minute|hour)s?)( ago)?`), `<a while>`},
	{regexp.MustCompile(`\b(02:42|[0-9a-f]{2}:[0-9a-f]{2}):[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}\b`), `<mac>`},
	{regexp.MustCompile(`\b(172\.(1[6-9]|2[0-9]|3[01])|192\.168)\.[0-9]+\.[0-9]+\b(/(16|20)\b)?`), `<ip>`},
	{regexp.MustCompile(`\b(2[5-9]|3[0-9]|4[0-9]|5[0-9]|6[0-9])[0-9]{3}->`), `<port>->`},
	{regexp.MustCompile(`(0\.0\.0\.0|\[?::\]?|127\.0\.0\.1|\[?::1\]?):(2[5-9]|3[0-9]|4[0-9]|5[0-9]|6[0-9])[0-9]{3}\b`), `$1:<port>`},
	{regexp.MustCompile(`\bh[1-4]\b`), `<host>`},
	// Columns are as wide as what stands in them.
	{regexp.MustCompile(`  +`), `  `},
	{regexp.MustCompile(` +$`), ``},
	{regexp.MustCompile(`---+`), `---`},
}

// varying are the fields whose values say nothing beside being there: a value that is
// not empty is evened out.
var varying = regexp.MustCompile(`/(Pid|Created|CreatedAt|created|StartedAt|FinishedAt|LastTagTime|HostPort|PublicPort|SandboxID|time|timeNano|` +
	`EndpointID|LowerDir|MergedDir|UpperDir|WorkDir|RunningFor|read|preread|UsageData)$`)

// fleeting are fields that tell of a moment.
var fleeting = regexp.MustCompile(`/(ExecIDs|Health/Log)$`)

// unordered are lists of objects that an engine keeps in a map.
var unordered = regexp.MustCompile(`/(Mounts|Ports)$`)

// place is what such objects are told apart by.
func place(v any) string {
	object, _ := v.(map[string]any)
	return fmt.Sprint(object["Destination"], object["PrivatePort"], object["Type"], object["IP"])
}

// normal evens out a tree. path says where it stands, as in "/0/State/Pid".
func normal(path string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			at := path + "/" + key
			if fleeting.MatchString(at) {
				delete(v, key)
				continue
			}
			v[key] = normal(at, value)
		}
		return v
	case []any:
		for i, value := range v {
			v[i] = normal(fmt.Sprintf("%s/%d", path, i), value)
		}
		if unordered.MatchString(path) {
			slices.SortStableFunc(v, func(a, b any) int { return strings.Compare(place(a), place(b)) })
		}
		return v
	case string:
		if v != "" && v != "0001-01-01T00:00:00Z" && varying.MatchString(path) {
			return "<varies>"
		}
		for _, r := range rewrites {
			v = r.pattern.ReplaceAllString(v, r.by)
		}
		return v
	case float64:
		if v != 0 && varying.MatchString(path) {
			return "<varies>"
		}
	}
	return v
}
