package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"ddocker/consensus/ledger"
	"ddocker/gpu"
	"ddocker/sched"
)

const (
	// headerBusyGPUs comes with a host's own list of containers: how busy its cards
	// are, as "UUID=PERCENT,…". Cards of which that is not read are left out.
	headerBusyGPUs = "Ddocker-Gpus-Busy"
	// headerGPUs comes with the cluster's list: how many cards its hosts have.
	headerGPUs = "Ddocker-Gpus"
)

// knownCards are the cards of one host as the ledger has them.
type knownCards struct {
	list    []knownCard
	told    []ledger.ClosedCard  // by the host, also of cards that it does not offer
	holders map[string]*cardUser // by UUID
	users   map[string]*cardUser // by container
}

type knownCard struct {
	sched.Card
	seen bool // the host shows it
}

func cardsOf(l *ledger.Ledger, node string) *knownCards {
	k := &knownCards{holders: map[string]*cardUser{}, users: map[string]*cardUser{}}
	n, h := l.Node(node), l.Host(node)
	if n == nil {
		return k
	}
	k.told = n.Observed.Cards
	for _, card := range h.Cards {
		k.list = append(k.list, knownCard{Card: card})
	}
	for i := range n.Observed.Containers {
		o := &n.Observed.Containers[i]
		k.add(&cardUser{o.ID, o.Name, ""}, o.Grant.GPUs)
	}
	for _, p := range l.Placed(node) {
		k.add(&cardUser{p.Container, p.Name, p.Owner}, p.Grant.GPUs)
	}
	return k
}

func (k *knownCards) add(user *cardUser, cards []string) {
	if user.ID != "" {
		k.users[user.ID] = user
	}
	for _, uuid := range cards {
		k.holders[uuid] = user
	}
}

func (k *knownCards) find(uuid string) *knownCard {
	for i := range k.list {
		if k.list[i].UUID == uuid {
			return &k.list[i]
		}
	}
	return nil
}

// grantedCard is a card of a container in a list.
type grantedCard struct {
	UUID, Index string
	Utilization *int // per cent; nil: not known
}

// cardIndexes returns the numbers of a host's cards, by UUID.
func cardIndexes(cards []sched.Card) map[string]string {
	if len(cards) == 0 {
		return nil
	}
	index := make(map[string]string, len(cards))
	for i := range cards {
		index[cards[i].UUID] = cards[i].Index
	}
	return index
}

// grantedCards names the cards of a container for a list. Index has those of its host;
// busy may be nil.
func grantedCards(uuids []string, index map[string]string, busy map[string]int) []grantedCard {
	var list []grantedCard
	for _, uuid := range uuids {
		card := grantedCard{UUID: uuid, Index: index[uuid]}
		if percent, told := busy[uuid]; told {
			card.Utilization = &percent
		}
		list = append(list, card)
	}
	return list
}

// tellBusy writes how busy the cards are into the headers of a list; nothing where there
// is no card.
func tellBusy(h http.Header, state gpu.State) {
	var words []string
	for _, c := range state.Cards {
		if c.Utilization != gpu.Unread {
			words = append(words, c.UUID+"="+strconv.Itoa(c.Utilization))
		}
	}
	if len(words) > 0 {
		h.Set(headerBusyGPUs, strings.Join(words, ","))
	}
}

// readBusy reads what tellBusy wrote.
func readBusy(h http.Header) map[string]int {
	text := h.Get(headerBusyGPUs)
	if text == "" {
		return nil
	}
	busy := map[string]int{}
	for word := range strings.SplitSeq(text, ",") {
		uuid, number, _ := strings.Cut(word, "=")
		if percent, err := strconv.Atoi(number); err == nil {
			busy[uuid] = percent
		}
	}
	return busy
}

// tellCards says with a list of containers whether the cluster has GPUs at all.
func (a *API) tellCards(h http.Header) {
	n := 0
	a.cfg.Log.View(func(l *ledger.Ledger) {
		for _, host := range l.Hosts() {
			n += len(host.Cards)
		}
	})
	if n > 0 {
		h.Set(headerGPUs, strconv.Itoa(n))
	}
}

// cards answers what this node's driver says of its cards.
func (l *Local) cards(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(l.gpus())
}
