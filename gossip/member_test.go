package gossip

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"
)

func TestMetadataFitsAndSurvivesTheWire(t *testing.T) {
	want := Member{Name: strings.Repeat("n", 255), Version: strings.Repeat("v", 200)}
	b := encodeMeta(want)
	if len(b) > memberlist.MetaMaxSize {
		t.Errorf("metadata has %d bytes", len(b))
	}
	name, version, err := decodeMeta(append(b, "a later addition"...))
	if err != nil || name != want.Name || version != want.Version {
		t.Errorf("decoded %q, %q, %v", name, version, err)
	}
	for _, bad := range [][]byte{nil, {metaVersion + 1, 0, 0}, b[:len(b)-1], {metaVersion}} {
		if _, _, err := decodeMeta(bad); err == nil {
			t.Errorf("decoded %q", bad)
		}
	}
}

func TestTheDeadAreForgottenFirstWhenThereAreTooMany(t *testing.T) {
	r := newRoster(Member{ID: "self", Alive: true})
	for i := range maxMembers + 50 {
		id := fmt.Sprint(i)
		r.put(Member{ID: id, Alive: true})
		r.put(Member{ID: id})
	}
	r.put(Member{ID: "last", Alive: true})
	if n := len(r.all()); n > maxMembers {
		t.Errorf("%d members are remembered", n)
	}
	if _, ok := r.get("0"); ok {
		t.Error("the first to die is remembered")
	}
	if n := r.alive(); n != 2 {
		t.Errorf("%d members are alive", n)
	}
}

func TestANonChangeIsNotSignalled(t *testing.T) {
	m := Member{ID: "self", Alive: true}
	r := newRoster(m)
	changed := r.nextChange()
	r.put(m)
	select {
	case <-changed:
		t.Error("signalled")
	default:
	}
}
