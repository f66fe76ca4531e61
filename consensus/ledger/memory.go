package ledger

// memo is the result of a request that may be sent again.
type memo struct {
	ID        string   `json:"id"`
	Refusal   *Refusal `json:"refusal,omitempty"`
	Placement string   `json:"placement,omitempty"`
	// Image is a name, and Index where it was taken.
	Image string `json:"image,omitempty"`
	Index uint64 `json:"index,omitempty"`
	// Kind and Object name a network or volume, which took its name at Index.
	Kind   Kind   `json:"kind,omitempty"`
	Object string `json:"object,omitempty"`
}

func newMemo(id string, r Result) memo {
	m := memo{ID: id, Refusal: r.Refusal}
	if r.Placement != nil {
		m.Placement = r.Placement.ID
	}
	if r.Image != nil {
		m.Image, m.Index = r.Image.Name, r.Image.Index
	}
	if r.Object != nil {
		m.Kind, m.Object, m.Index = r.Object.Kind, r.Object.Name, r.Object.Index
	}
	return m
}

// memory keeps the newest maxMemos memos.
type memory struct {
	byID  map[string]memo
	order []string // oldest first
}

func (m *memory) add(one memo) {
	m.byID[one.ID] = one
	m.order = append(m.order, one.ID)
	if len(m.order) > maxMemos {
		delete(m.byID, m.order[0])
		m.order = m.order[1:]
	}
}

// recall repeats a result, as what it granted stands now.
func (l *Ledger) recall(m memo) Result {
	switch {
	case m.Placement != "":
		if p := l.placements[m.Placement]; p != nil {
			return Result{Placement: p}
		}
		return refuse(Gone, "the container that this request made has been removed since")
	case m.Image != "":
		if i := l.images[m.Image]; i != nil && i.Index == m.Index {
			return Result{Image: i}
		}
		return refuse(Gone, "the image name %s that this request took has been given up since", m.Image)
	}
	if m.Object != "" {
		if o := l.objects[thing{m.Kind, m.Object}]; o != nil && o.Index == m.Index {
			return Result{Object: o}
		}
		return refuse(Gone, "the %s %s that this request made has been removed since", m.Kind, m.Object)
	}
	return Result{Refusal: m.Refusal}
}
