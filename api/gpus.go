package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"ddocker/consensus/ledger"
	"ddocker/gpu"
)

// What a card is doing, in [cardRow.State]. The words of [ledger.ClosedCard] begin with
// one of the last three.
const (
	cardFree    = "free"
	cardHeld    = "held"    // by a container, whatever that does with it
	cardBusy    = "busy"    // used by what was not granted it
	cardUnknown = "unknown" // nobody can tell
	cardLost    = "lost"    // its host no longer shows it
)

// cardRow is one card in /ddocker/gpus. What was not read is null.
type cardRow struct {
	Host, Index, UUID, Model string
	Profile                  string // of a MIG device
	Memory                   int64  // bytes
	Used                     *int64 // bytes
	Utilization              *int   // per cent
	Temperature              *int   // degrees Celsius
	Power                    *int   // milliwatts
	Bus                      string
	NUMA                     *int
	Driver, CUDA             string
	State, Reason            string
	Container                *cardUser  // that was granted it
	Idle                     *time.Time // since when nothing runs on it
	Processes                []processRow
}

// cardUser is a container on a card.
type cardUser struct {
	ID    string // empty until it is made
	Name  string
	Owner string // empty: the cluster did not make it
}

// processRow is one process on a card. Without a container it is from outside.
type processRow struct {
	PID                    int
	User, Command          string
	Memory                 *int64 // bytes of the card
	Container, Name, Owner string
}

// listCards merges what the hosts say of their cards with what the ledger says of who
// has them. A host that does not answer stands with the cards that the ledger knows.
func (a *API) listCards(w http.ResponseWriter, c *call) {
	rows := []cardRow{}
	for _, one := range a.hosts.each(c.Context(), pathGPUs, nil) {
		rows = append(rows, a.hostCards(one)...)
	}
	a.ownCards(c, rows)
	reply(w, http.StatusOK, rows)
}

// hostCards returns the cards of one host: those that it shows, and those that it showed.
func (a *API) hostCards(one answer) (rows []cardRow) {
	var state gpu.State
	if one.err == nil {
		one.err = json.Unmarshal(one.body, &state)
	}
	var refused *statusError
	switch {
	case errors.As(one.err, &refused):
		state = gpu.State{Reason: "host " + one.name + " does not tell: " + refused.message}
	case one.err != nil:
		state = gpu.State{Reason: "host " + one.name + " does not answer"}
	}
	a.cfg.Log.View(func(l *ledger.Ledger) {
		known := cardsOf(l, one.id)
		for i := range state.Cards {
			rows = append(rows, known.shown(one.name, &state, &state.Cards[i]))
		}
		for i := range known.list {
			if !known.list[i].seen {
				rows = append(rows, known.missing(one.name, &state, &known.list[i]))
			}
		}
	})
	return rows
}

// shown is a card that its host shows.
func (k *knownCards) shown(host string, state *gpu.State, c *gpu.Card) cardRow {
	r := cardRow{
		Host: host, Index: c.Index, UUID: c.UUID, Model: c.Model, Profile: c.Profile,
		Memory: c.Memory, Used: read64(c.Used), Utilization: reading(c.Utilization), Temperature: reading(c.Temperature),
		Power: reading(c.Power), Bus: c.Bus, NUMA: reading(c.NUMA), Driver: state.Driver, CUDA: state.CUDA,
		Container: k.holders[c.UUID], Processes: []processRow{},
	}
	if !c.Idle.IsZero() {
		r.Idle = &c.Idle
	}
	for _, p := range c.Processes {
		row := processRow{PID: p.PID, User: p.User, Command: p.Command, Memory: read64(p.Memory), Container: p.Container}
		if user := k.users[p.Container]; user != nil {
			row.Name, row.Owner = user.Name, user.Owner
		}
		r.Processes = append(r.Processes, row)
	}
	if card := k.find(c.UUID); card != nil {
		card.seen = true
		r.settle(card.Closed)
	} else if at := slices.IndexFunc(k.told, func(t ledger.ClosedCard) bool { return t.UUID == c.UUID }); at >= 0 {
		r.settle(k.told[at].Why)
	} else {
		r.State, r.Reason = cardUnknown, "not offered to the cluster yet"
	}
	return r
}

// missing is a card of the ledger's that its host does not show now.
func (k *knownCards) missing(host string, state *gpu.State, card *knownCard) cardRow {
	r := cardRow{
		Host: host, Index: card.Index, UUID: card.UUID, Model: card.Model, Profile: card.Profile, Memory: card.Memory,
		Container: k.holders[card.UUID], Processes: []processRow{}, State: cardUnknown, Reason: state.Reason,
	}
	if state.Known {
		r.State, r.Reason = cardLost, cmp.Or(state.Reason, "host "+host+" no longer shows it")
	}
	return r
}

// settle says what the card is doing, closed being the ledger's words for why it takes
// nothing.
func (r *cardRow) settle(closed string) {
	word, why, _ := strings.Cut(closed, ": ")
	r.Reason = closed
	if word == cardUnknown || word == cardLost || word == cardBusy {
		r.Reason = why
	}
	switch {
	case word == cardUnknown || word == cardLost:
		r.State = word
	case r.Container != nil:
		r.State = cardHeld
	case word == cardBusy:
		r.State = cardBusy
	case closed != "":
		r.State = cardUnknown
	default:
		r.State = cardFree
	}
}

func reading(n int) *int {
	if n == gpu.Unread {
		return nil
	}
	return &n
}

func read64(n int64) *int64 {
	if n == gpu.Unread {
		return nil
	}
	return &n
}
