package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"ddocker/sched"
	"ddocker/settings"
)

// Version is the newest version of commands and snapshots that this ledger
// reads.
const Version = 6

// Command is one entry of the log: a request ID and exactly one of the verbs.
type Command struct {
	Version int `json:"v"`
	// ID names the request, so that a repeated command gets the first one's
	// result and changes nothing. Empty where repeating does no harm.
	ID string `json:"id,omitempty"`

	Register  *Register          `json:"register,omitempty"`
	Observe   *Observe           `json:"observe,omitempty"`
	Reserve   *Reserve           `json:"reserve,omitempty"`
	Confirm   *Confirm           `json:"confirm,omitempty"`
	Release   *Release           `json:"release,omitempty"`
	Rename    *Rename            `json:"rename,omitempty"`
	Limit     *Limit             `json:"limit,omitempty"`
	Configure *settings.Settings `json:"configure,omitempty"`
	AddToken  *Token             `json:"addToken,omitempty"`
	UseToken  *UseToken          `json:"useToken,omitempty"`
	Revoke    *Revoke            `json:"revoke,omitempty"`
	Drain     *Drain             `json:"drain,omitempty"`
	LabelNode *LabelNode         `json:"labelNode,omitempty"`
	Claim     *Claim             `json:"claim,omitempty"`
	Unclaim   *Unclaim           `json:"unclaim,omitempty"`
	NameImage *NameImage         `json:"nameImage,omitempty"`
	Merge     *Merge             `json:"merge,omitempty"`
	Unname    *Unname            `json:"unname,omitempty"`
	Evict     *Evict             `json:"evict,omitempty"`
	Define    *Define            `json:"define,omitempty"`
	Made      *Made              `json:"made,omitempty"`
	Unmade    *Unmade            `json:"unmade,omitempty"`
	Undefine  *Undefine          `json:"undefine,omitempty"`
	Attach    *Attach            `json:"attach,omitempty"`
	Move      *Move              `json:"move,omitempty"`

	Raise      *Raise      `json:"raise,omitempty"`
	AddUser    *AddUser    `json:"addUser,omitempty"`
	ChangeUser *ChangeUser `json:"changeUser,omitempty"`
	RemoveUser *RemoveUser `json:"removeUser,omitempty"`
	AddKey     *AddKey     `json:"addKey,omitempty"`
	Vote       *Vote       `json:"vote,omitempty"`
	Remove     *Remove     `json:"remove,omitempty"`
	Forget     *Forget     `json:"forget,omitempty"`
	Rotate     *Rotate     `json:"rotate,omitempty"`
	Advance    *Advance    `json:"advance,omitempty"`
}

// ofTrust says whether the command's verb is one of version 5.
func (c *Command) ofTrust() bool {
	return c.Raise != nil || c.AddUser != nil || c.ChangeUser != nil || c.RemoveUser != nil || c.AddKey != nil ||
		c.Vote != nil || c.Remove != nil || c.Forget != nil || c.Rotate != nil || c.Advance != nil
}

// Overrides says whether a copy of the command that comes late would undo, or do again,
// what was decided after it.
func (c *Command) Overrides() bool {
	return c.Rename != nil || c.Limit != nil || c.Attach != nil || c.Drain != nil || c.LabelNode != nil || c.Vote != nil ||
		c.Configure != nil || c.AddToken != nil || c.AddUser != nil || c.ChangeUser != nil || c.RemoveUser != nil || c.AddKey != nil ||
		c.NameImage != nil || c.Unname != nil || c.Unmade != nil || c.Undefine != nil ||
		c.Release != nil && c.Release.Expired // what it finds gone may have moved back
}

// Encode writes a command for the log, in the lowest version that knows it.
func Encode(c Command) ([]byte, error) {
	c.Version = since(&c)
	data, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return data, nil
}

// Register adds a node or brings its facts up to date. Node names are unique.
type Register struct {
	Node     string   `json:"node"`
	Name     string   `json:"name"`
	Address  string   `json:"address"` // host:port of the node's one port
	Version  string   `json:"version"` // of ddocker
	Engine   string   `json:"engine"`  // version of the Docker Engine
	Capacity Capacity `json:"capacity"`
	// Speaks is the newest version of entries that the node reads; 0: 4.
	Speaks int `json:"speaks,omitempty"`
	// Key is the SHA-256 of the node's public key in its X.509 form, hexadecimal.
	Key string `json:"key,omitempty"`
	// Keep says that the node does not know its cards: it has those that it had. It is
	// no part of what is kept.
	Keep bool `json:"keep,omitempty"`
}

// Capacity is what a machine has in all.
type Capacity struct {
	Cores  sched.CPUSet `json:"cores"`
	Memory int64        `json:"memory"` // bytes
	Cards  []sched.Card `json:"cards,omitempty"`
	// Topology groups the cores.
	Topology sched.Topology `json:"topology,omitzero"`
}

// Observe replaces what a node sees on its machine beside the cluster's own
// containers. It is sent by the node itself.
type Observe struct {
	Node string `json:"node"`
	// Closed says why the node can take nothing now; empty: it can.
	Closed     string       `json:"closed,omitempty"`
	Containers []Outsider   `json:"containers,omitempty"`
	Ports      []sched.Port `json:"ports,omitempty"` // that processes listen on
	// Cards are those that take nothing new, by UUID.
	Cards []ClosedCard `json:"cards,omitempty"`
	// Images are those that its engine has, by ID.
	Images []Holding `json:"holdings,omitempty"`
	// Seen is how far in the log the node was when it began to list.
	Seen uint64 `json:"seen,omitempty"`
	// Store says how images are read from its engine: "overlay2", "containerd", or
	// "engine API" and why.
	Store string `json:"store,omitempty"`
}

// ClosedCard is a GPU that takes nothing new.
type ClosedCard struct {
	UUID string `json:"uuid"`
	Why  string `json:"why"` // in words for a person: "unknown: …", "busy: …"
}

// Outsider is a container that was not made through the cluster. It counts as
// taken what it holds and is never touched.
type Outsider struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Image   string      `json:"image"`
	ImageID string      `json:"imageID,omitempty"`
	Created time.Time   `json:"created,omitzero"`
	Grant   sched.Grant `json:"grant"`
}

// Reserve grants a container its place.
type Reserve struct {
	Placement string `json:"placement"` // the ID to give it
	Name      string `json:"name"`      // the container's name, unique in the cluster
	Image     string `json:"image"`
	// ImageID is what Image must still stand for; empty: whatever it does.
	ImageID string `json:"imageID,omitempty"`
	Type    string `json:"type,omitempty"` // name of the instance type, if it was made from one
	Owner   string `json:"owner,omitempty"`
	// Request is what it needs, Candidates the IDs of the nodes to try, best first.
	Request    sched.Request `json:"request"`
	Candidates []string      `json:"candidates"`
	// Networks and Volumes are the names of what it uses and hosts have of their own.
	Networks []string `json:"networks,omitempty"`
	Volumes  []string `json:"volumes,omitempty"`
	// Project is the compose project that it is of, if it uses networks or volumes.
	Project string `json:"project,omitempty"`
	// Replaces is the placement whose place it takes over, on the same host: what that
	// holds counts as free to it.
	Replaces string `json:"replaces,omitempty"`
	// Apart says that its host was asked for by name: its networks may be elsewhere.
	Apart bool `json:"apart,omitempty"`
}

// Confirm records that a placement's container exists. It is sent by the holder.
type Confirm struct {
	Placement string `json:"placement"`
	// Node is the holder; a placement that has moved elsewhere is not meant. Empty: the
	// placement wherever it is.
	Node      string `json:"node,omitempty"`
	Container string `json:"container"` // the engine's full ID
	// ImageID is the image that it was made from; empty: what the placement says.
	ImageID string `json:"imageID,omitempty"`
}

// Release ends a placement and frees what it held. Releasing an unknown one is
// no error.
type Release struct {
	Placement string `json:"placement"`
	// Node is as in Confirm: where the placement is elsewhere, nothing is released.
	Node string `json:"node,omitempty"`
	// Expired says that no container was ever seen. The ledger then remembers the
	// placement for a while, so that a create that lands late is told from
	// somebody's container.
	Expired bool `json:"expired,omitempty"`
}

// Rename gives a placement another container name.
type Rename struct {
	Placement string `json:"placement"`
	Name      string `json:"name"`
}

// Result is what a command did.
type Result struct {
	// Refusal says why nothing was changed; nil: the command was carried out.
	Refusal *Refusal `json:"refusal,omitempty"`
	// Placement is the placement reserved, confirmed or renamed.
	Placement *Placement `json:"placement,omitempty"`
	// Image is the name claimed, or given.
	Image *Image `json:"image,omitempty"`
	// Object is the network or volume defined, or made.
	Object *Object `json:"object,omitempty"`
}

// Refusal is the ledger's no, in words for a person.
type Refusal struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (r *Refusal) Error() string { return r.Message }

// Code is the kind of a refusal.
type Code string

// The codes of refusals.
const (
	Conflict Code = "conflict" // the name is taken
	Full     Code = "full"     // no candidate has the resources free
	Unknown  Code = "unknown"  // there is no such thing
	Invalid  Code = "invalid"  // the command makes no sense to this ledger
	Gone     Code = "gone"     // it was carried out before, and has been undone since
	Busy     Code = "busy"     // what was granted turned out not to be free: another place may be found
	Newer    Code = "newer"    // the entry is of a version that this ledger does not read: see Apply
)

func refuse(code Code, format string, args ...any) Result {
	return Result{Refusal: &Refusal{code, fmt.Sprintf(format, args...)}}
}
