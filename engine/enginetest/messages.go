package enginetest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// message is one line of what the engine tells while it carries images.
type message struct {
	Stream   string       `json:"stream,omitempty"`
	Status   string       `json:"status,omitempty"`
	Progress *progress    `json:"progressDetail,omitempty"`
	ID       string       `json:"id,omitempty"`
	Detail   *errorDetail `json:"errorDetail,omitempty"`
	Error    string       `json:"error,omitempty"`
}

type progress struct {
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
}

type errorDetail struct {
	Message string `json:"message"`
}

// stream is a reply's body of many messages.
type stream []message

// step appends what happens to a layer.
func (s *stream) step(l *layer, status string, current int64) {
	p := &progress{}
	if current > 0 {
		p = &progress{Current: current, Total: int64(len(l.tar))}
	}
	*s = append(*s, message{Status: status, Progress: p, ID: l.diffID[len("sha256:"):][:12]})
}

// complain answers 200 with an error after the messages, as moby does when its
// reply has begun.
func (s stream) complain(format string, args ...any) reply {
	text := fmt.Sprintf(format, args...)
	return reply{http.StatusOK, append(s, message{Detail: &errorDetail{text}, Error: text})}
}

func (s stream) complains() bool { return len(s) > 0 && s[len(s)-1].Detail != nil }

func (s stream) writeTo(w io.Writer) {
	for _, m := range s {
		b, _ := json.Marshal(m)       // plain data
		w.Write(append(b, "\r\n"...)) // a caller that has gone cannot be told
	}
}
