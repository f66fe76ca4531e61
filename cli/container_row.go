package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
)

// containerRow is one container as templates and --format json see it. The
// fields are docker's, in docker's order, and a few of the cluster's.
type containerRow struct {
	Command      string
	Created      string
	CreatedAt    string
	GPU          string
	GPUs         string
	Host         string
	ID           string
	Image        string
	Labels       string
	LocalVolumes string
	Mounts       string
	Names        string
	Networks     string
	Owner        string
	Ports        string
	Running      string
	RunningFor   string
	Size         string
	State        string
	Status       string
	Type         string
	User         string
	Util         string

	labels map[string]string
}

// Label returns the value of one label, empty when there is none.
func (r containerRow) Label(name string) string { return r.labels[name] }

func containerTable() table {
	return table{
		columns: "{{.Names}}\t{{.Ports}}\t{{.Image}}\t{{.Created}}\t{{.Host}}\t{{.Type}}\t{{.Running}}",
		quiet:   "{{.ID}}",
		titles: titles{
			"Command": "COMMAND", "Created": "CREATED", "CreatedAt": "CREATED AT", "GPU": "GPU", "GPUs": "GPUS", "Host": "HOST",
			"ID": "CONTAINER ID", "Image": "IMAGE", "Labels": "LABELS", "LocalVolumes": "LOCAL VOLUMES",
			"Mounts": "MOUNTS", "Names": "NAME", "Networks": "NETWORKS", "Owner": "OWNER", "Ports": "PORT",
			"Running": "RUNNING", "RunningFor": "CREATED", "Size": "SIZE", "State": "STATE",
			"Status": "STATUS", "Type": "TYPE", "User": "USER", "Util": "UTIL",
		},
	}
}

func newContainerRow(c containerSummary, trunc bool) containerRow {
	created := time.Unix(c.Created, 0)
	row := containerRow{
		Command:      c.Command,
		Created:      created.UTC().Format("06-01-02T15:04:05"),
		CreatedAt:    created.String(),
		GPU:          c.gpus(grantedCard.index),
		GPUs:         c.gpus(grantedCard.uuid),
		Host:         c.host(),
		ID:           c.ID,
		Image:        c.Image,
		Labels:       joinLabels(c.Labels),
		Names:        joinNames(c.Names),
		Owner:        c.Ddocker.Owner,
		Ports:        joinPorts(c),
		Running:      running(c),
		RunningFor:   units.HumanDuration(time.Since(created)) + " ago",
		Size:         units.HumanSizeWithPrecision(float64(c.SizeRw), 3),
		State:        string(c.State),
		Status:       c.Status,
		Type:         c.Ddocker.Type,
		User:         dash(c.Ddocker.Owner),
		Util:         c.gpus(grantedCard.percent),
		LocalVolumes: "0",
		labels:       c.Labels,
	}
	if trunc {
		row.ID, row.Command = shortID(c.ID), ellipsis(c.Command, 20)
		if strings.HasPrefix(c.Image, "sha256:") {
			row.Image = shortID(c.Image)
		}
	}
	row.Command = strconv.Quote(row.Command)
	row.addMounts(c.Mounts, trunc)
	if c.NetworkSettings != nil {
		row.Networks = strings.Join(sortedKeys(c.NetworkSettings.Networks), ",")
	}
	return row
}

func (r *containerRow) addMounts(mounts []container.MountPoint, trunc bool) {
	var names []string
	local := 0
	for _, m := range mounts {
		name := firstOf(m.Name, m.Source)
		if trunc {
			name = ellipsis(name, 15)
		}
		names = append(names, name)
		if m.Driver == "local" {
			local++
		}
	}
	r.Mounts, r.LocalVolumes = strings.Join(names, ","), strconv.Itoa(local)
}

// gpus says something of each of the container's cards; "-" where it has none.
func (c *containerSummary) gpus(word func(grantedCard) string) string {
	var words []string
	for _, card := range c.Ddocker.GPUs {
		words = append(words, word(card))
	}
	return dash(strings.Join(words, ","))
}

func (g grantedCard) index() string   { return dash(g.Index) }
func (g grantedCard) uuid() string    { return g.UUID }
func (g grantedCard) percent() string { return with(g.Utilization, "%") }

// running is the seed's RUNNING column.
func running(c containerSummary) string {
	switch {
	case c.Ddocker.Unreachable:
		return "unreachable"
	case c.Ddocker.Lost:
		return "lost"
	case c.State == container.StateRunning:
		return "True"
	}
	return "False"
}

// joinPorts is the seed's PORT column. The cluster knows the ports of stopped
// containers too; an engine's own list is the fallback.
func joinPorts(c containerSummary) string {
	if len(c.Ddocker.Ports) > 0 {
		return strings.Join(c.Ddocker.Ports, ", ")
	}
	var texts []string
	for _, p := range c.Ports {
		text := fmt.Sprintf("%d/%s", p.PrivatePort, p.Type)
		if p.IP != "" {
			text = fmt.Sprintf("%s:%d->%s", p.IP, p.PublicPort, text)
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// joinNames leaves out the slash before a name, and names that legacy links
// gave to a container.
func joinNames(names []string) string {
	var own []string
	for _, name := range names {
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			own = append(own, name)
		}
	}
	return strings.Join(own, ",")
}

func joinLabels(labels map[string]string) string {
	pairs := sortedKeys(labels)
	for i, key := range pairs {
		pairs[i] = key + "=" + labels[key]
	}
	return strings.Join(pairs, ",")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// shortID is an ID as docker shows it, twelve digits without its algorithm.
func shortID(id string) string {
	id = id[strings.Index(id, ":")+1:]
	return id[:min(len(id), 12)]
}

// ellipsis shortens text to width characters.
func ellipsis(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}
