package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"ddocker/consensus/ledger"
)

// belongings gives a user a stopped container, a network, a volume and an image, all of
// that name and on some host.
func (w *world) belongings(who, host string) {
	w.Helper()
	w.as(who, ledger.Member)
	h := w.hosts[0]
	h.create(who, `{"Image":"busybox","Labels":{"of":"`+who+`","ddocker.node":"`+host+`"}}`)
	h.want(http.StatusCreated, "", post, "/networks/create", `{"Name":"`+who+`","Labels":{"of":"`+who+`"}}`)
	h.want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"`+who+`","Labels":{"of":"`+who+`"}}`)
	h.want(http.StatusCreated, "", post, "/commit?container="+who+"&repo="+who, "")
	w.settle()
}

// left returns what there is of those names, in the cluster and with the engines.
func (w *world) left(names ...string) (left []string) {
	w.Helper()
	w.settle()
	w.as("alice", ledger.Admin)
	h := w.hosts[1]
	there := func(what string, list []string) {
		for _, name := range list {
			if slices.Contains(names, strings.TrimSuffix(name, ":latest")) {
				left = append(left, what+" "+strings.TrimSuffix(name, ":latest"))
			}
		}
	}
	boxes := append(w.hosts[0].has(), w.hosts[1].has()...)
	slices.Sort(boxes)
	there("container", boxes)
	there("network", h.networks())
	there("volume", h.volumes())
	var images []string
	for _, i := range h.images("") {
		images = append(images, i.RepoTags...)
	}
	slices.Sort(images)
	there("image", images)
	return left
}

func TestUsersPruneWhatIsTheirOwn(t *testing.T) {
	named := "?filters=" + url.QueryEscape(`{"all":["1"]}`)
	for prune, gone := range map[string]string{
		"/containers/prune":       "container bob",
		"/v1.41/containers/prune": "container bob",
		"/networks/prune":         "network bob",
		"/volumes/prune" + named:  "volume bob",
		"/v1.41/volumes/prune":    "volume bob",
		"/v1.44/volumes/prune":    "", // it has a name
		"/volumes/prune":          "",
		"/images/prune":           "",
		"/build/prune":            "",
		"/containers/prune?filters=%7B%22label%22%3A%5B%22of%3Dbob%22%5D%7D":          "container bob",
		"/containers/prune?filters=%7B%22label%22%3A%5B%22of%3Dcarol%22%5D%7D":        "",
		"/containers/prune?filters=%7B%22label!%22%3A%5B%22of%22%5D%7D":               "",
		"/containers/prune?filters=%7B%22until%22%3A%5B%221h%22%5D%7D":                "",
		"/containers/prune?filters=%7B%22label%22%3A%5B%22ddocker.node%3Dn1%22%5D%7D": "",
		"/networks/prune?filters=%7B%22label!%22%3A%7B%22of%3Dcarol%22%3Atrue%7D%7D":  "network bob",
		"/containers/prune?filters=%7B%22label%22%3A%5B%22ddocker.node%3Dn2%22%5D%7D": "container bob",
		"/networks/prune?filters=%7B%22label%22%3A%7B%22of%3Dcarol%22%3Atrue%7D%7D":   "",
	} {
		t.Run(prune, func(t *testing.T) {
			inWorld(t, 2, func(w *world) {
				w.belongings("carol", "n1")
				w.belongings("bob", "n2")
				before := w.left("bob", "carol")
				if len(before) != 8 {
					t.Fatalf("there are %q", before)
				}
				w.as("bob", ledger.Member)
				got := w.hosts[0].want(http.StatusOK, "", post, prune, "")
				want := slices.DeleteFunc(slices.Clone(before), func(what string) bool { return what == gone })
				wantList(t, "left", w.left("bob", "carol"), want...)
				if told := !strings.Contains(got.body, "null") && !strings.Contains(got.body, "[]"); told != (gone != "") {
					t.Errorf("it tells %s", got.body)
				}
			})
		})
	}
}

func TestUsersPruneNoNamesOfImagesThatOthersGave(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.belongings("carol", "n1")
		w.belongings("bob", "n2")
		h := w.hosts[0]
		h.want(http.StatusCreated, "", post, "/images/carol/tag?repo=shared", "") // bob's name of carol's image
		h.want(http.StatusCreated, "", post, "/commit?container=bob", "")         // without a name
		w.as("bob", ledger.Member)
		all := "?filters=" + url.QueryEscape(`{"dangling":["false"]}`)
		done := read[pruned](w, h.want(http.StatusOK, "", post, "/images/prune"+all, ""))
		var names []string
		for _, one := range done.ImagesDeleted {
			if one.Untagged != "" {
				names = append(names, one.Untagged)
			}
		}
		slices.Sort(names)
		wantList(t, "names that are gone", names, "bob:latest", "shared:latest")
		if w.named("carol:latest") == nil || w.named("busybox:latest") == nil {
			t.Error("others' names are gone")
		}
	})
}

func TestUsersPruneNothingThatRunsOrIsUsed(t *testing.T) {
	inWorld(t, 2, func(w *world) {
		w.as("bob", ledger.Member)
		h := w.hosts[0]
		h.network("bob")
		h.want(http.StatusCreated, "", post, "/volumes/create", `{"Name":"bob"}`)
		h.create("bob", `{"Image":"busybox","HostConfig":{"NetworkMode":"bob","Binds":["bob:/d"]}}`)
		h.want(http.StatusNoContent, "", post, "/containers/bob/start", "")
		h.want(http.StatusOK, `{"ContainersDeleted":null,"SpaceReclaimed":0}`, post, "/containers/prune", "")
		h.want(http.StatusOK, `{"NetworksDeleted":null}`, post, "/networks/prune", "")
		h.want(http.StatusOK, `{"SpaceReclaimed":0,"VolumesDeleted":null}`, post, "/v1.41/volumes/prune", "")
		wantList(t, "left", w.left("bob"), "container bob", "network bob", "volume bob")
		w.as("bob", ledger.Member)
		h.want(http.StatusBadRequest, "invalid filter 'name'", post, "/containers/prune?filters="+url.QueryEscape(`{"name":["bob"]}`), "")
		h.want(http.StatusBadRequest, "invalid filter", post, "/volumes/prune?filters={", "")
		h.want(http.StatusBadRequest, "until=x", post, "/networks/prune?filters="+url.QueryEscape(`{"until":["x"]}`), "")
	})
}
