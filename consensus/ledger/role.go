package ledger

// Role is what a user may do in the cluster.
type Role string

// The roles of users.
const (
	Admin  Role = "admin" // everything
	Member Role = "user"  // what is its own
)
