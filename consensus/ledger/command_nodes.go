package ledger

import "time"

// Bounds of a node's labels.
const (
	maxLabels = 64
	maxLabel  = 256 // bytes of a key, and of a value
)

// Drain closes a node for new containers, or opens it again. What is there stays.
type Drain struct {
	Node string `json:"node"`
	// By is who closes it.
	By string `json:"by,omitempty"`
	// Open says that the node is to take containers again.
	Open bool `json:"open,omitempty"`
}

// LabelNode gives a node labels, at most 64 in all. One with an empty value is taken
// away.
type LabelNode struct {
	Node   string            `json:"node"`
	Labels map[string]string `json:"labels"`
}

// Token lets machines join until it expires or its uses are spent.
type Token struct {
	Hash    string    `json:"hash"` // of the secret; the secret itself is never in the log
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"` // left
	// By is who made it.
	By string `json:"by,omitempty"`
}

// UseToken spends one use of a token.
type UseToken struct {
	Hash string `json:"hash"`
}

// Revoke ends a token before its time. An unknown one is no error.
type Revoke struct {
	Hash string `json:"hash"`
}
