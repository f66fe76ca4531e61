package api

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// route is one row of the table: a method and a path in which {} stands for a
// container, an exec session or an image.
type route struct {
	method, path string
	verb         func(a *API, w http.ResponseWriter, c *call)
}

const (
	get  = http.MethodGet
	head = http.MethodHead
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)

// routes returns the whole table. The first row that matches counts.
func routes() []route {
	return slices.Concat(hostRoutes(), containerRoutes(), imageRoutes(), objectRoutes(), swarmRoutes(), clusterRoutes())
}

func hostRoutes() []route {
	return []route{
		{get, "/_ping", (*API).ping},
		{head, "/_ping", (*API).ping},
		{get, "/version", (*API).version},
		{get, "/info", (*API).info},
		{get, "/events", (*API).events},
		{get, "/system/df", (*API).diskUsage},
		{post, "/auth", (*API).here},
		{get, "/distribution/{}/json", (*API).here},
	}
}

func containerRoutes() []route {
	return []route{
		{get, pathContainers, (*API).listContainers},
		{post, "/containers/create", (*API).create},
		{post, "/containers/prune", (*API).pruneContainers},
		{get, "/containers/{}/json", (*API).inspectContainer},
		{get, "/containers/{}/logs", (*API).stream},
		{get, "/containers/{}/top", (*API).holder},
		{get, "/containers/{}/stats", (*API).holder},
		{get, "/containers/{}/changes", (*API).holder},
		{get, "/containers/{}/export", (*API).holder},
		{head, "/containers/{}/archive", (*API).holder},
		{get, "/containers/{}/archive", (*API).holder},
		{put, "/containers/{}/archive", (*API).holder},
		{get, "/containers/{}/attach/ws", (*API).stream},
		{post, "/containers/{}/attach", (*API).stream},
		{post, "/containers/{}/start", (*API).start},
		{post, "/containers/{}/stop", (*API).holder},
		{post, "/containers/{}/restart", (*API).start},
		{post, pathKill, (*API).holder},
		{post, "/containers/{}/pause", (*API).holder},
		{post, "/containers/{}/unpause", (*API).holder},
		{post, pathWait, (*API).stream},
		{post, "/containers/{}/resize", (*API).holder},
		{post, "/containers/{}/exec", (*API).createExec},
		{post, "/containers/{}/rename", (*API).rename},
		{post, "/containers/{}/update", (*API).update},
		{del, "/containers/{}", (*API).removeContainer},
		{post, "/commit", (*API).commit},

		{post, pathExecStart, (*API).startExec},
		{post, "/exec/{}/resize", (*API).exec},
		{get, pathExec, (*API).exec},
	}
}

func imageRoutes() []route {
	return []route{
		{post, "/build", (*API).build},
		{post, "/build/cancel", (*API).here},
		{post, "/build/prune", (*API).pruneBuilds},
		{post, "/session", (*API).session},
		{post, "/grpc", (*API).session},

		{get, "/images/json", (*API).listImages},
		{post, "/images/create", (*API).createImage},
		{post, "/images/load", (*API).load},
		{post, "/images/prune", (*API).pruneImages},
		{get, "/images/search", (*API).here},
		{get, "/images/{}/json", (*API).imageHolder},
		{get, "/images/{}/history", (*API).imageHolder},
		{get, "/images/get", (*API).save},
		{get, "/images/{}/get", (*API).imageHolder},
		{post, "/images/{}/push", (*API).push},
		{post, "/images/{}/tag", (*API).tag},
		{del, "/images/{}", (*API).removeImage},
	}
}

func objectRoutes() []route {
	return []route{
		{get, "/networks", (*API).listNetworks},
		{post, "/networks/create", (*API).createNetwork},
		{post, "/networks/prune", (*API).pruneNetworks},
		{get, "/networks/{}", (*API).inspectNetwork},
		{del, "/networks/{}", (*API).removeNetwork},
		{post, "/networks/{}/connect", (*API).connect},
		{post, "/networks/{}/disconnect", (*API).disconnect},

		{get, "/volumes", (*API).listVolumes},
		{post, "/volumes/create", (*API).createVolume},
		{post, "/volumes/prune", (*API).pruneVolumes},
		{get, "/volumes/{}", (*API).inspectVolume},
		{del, "/volumes/{}", (*API).removeVolume},
	}
}

func clusterRoutes() []route {
	return []route{
		{get, "/plugins", (*API).noPlugins},

		{get, "/ddocker/nodes", (*API).listNodes},
		{get, "/ddocker/nodes/{}", (*API).inspectNode},
		{post, "/ddocker/nodes/{}/drain", (*API).drainNode},
		{post, "/ddocker/nodes/{}/activate", (*API).activateNode},
		{post, "/ddocker/nodes/{}/labels", (*API).labelNode},
		{del, "/ddocker/nodes/{}", (*API).removeNode},
		{get, "/ddocker/leave", (*API).inspectLeave},
		{post, "/ddocker/leave", (*API).leave},
		{post, "/ddocker/images/{}/replicate", (*API).replicate},
		{get, "/ddocker/settings", (*API).showSettings},
		{post, "/ddocker/settings", (*API).applySettings},
		{get, "/ddocker/tokens", (*API).listTokens},
		{post, "/ddocker/tokens", (*API).createToken},
		{del, "/ddocker/tokens/{}", (*API).revokeToken},
		{get, "/ddocker/raft", (*API).raftStatus},
		{post, "/ddocker/raft/transfer-leader", (*API).transferLeader},
		{post, "/ddocker/raft/snapshot", (*API).snapshot},
		{get, "/ddocker/gpus", (*API).listCards},
		{get, "/ddocker/nvidia-smi", (*API).smi},
	}
}

// swarmRoutes are refused, whatever they ask for: no engine here is to join a swarm.
func swarmRoutes() (rows []route) {
	for _, of := range []string{"swarm", "services", "nodes", "tasks", "secrets", "configs"} {
		rows = append(rows,
			route{get, "/" + of, (*API).refuseSwarm}, route{get, "/" + of + "/{}", (*API).refuseSwarm},
			route{post, "/" + of + "/{}", (*API).refuseSwarm}, route{del, "/" + of + "/{}", (*API).refuseSwarm})
	}
	return rows
}

// splitVersion takes "/v1.41" off a path.
func splitVersion(path string) (version, rest string) {
	if m := versioned.FindStringSubmatch(path); m != nil {
		return m[1], m[2]
	}
	return "", path
}

var (
	versioned = regexp.MustCompile(`^/v([0-9]{1,3}\.[0-9]{1,3})(/.*)$`)
	// reference covers names and IDs of containers ("node/name" too), exec
	// sessions and images ("registry:5000/name@sha256:…"). Elements never begin
	// with a dot, so that no path climbs.
	reference = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.:@-]*(/[a-zA-Z0-9][a-zA-Z0-9_.:@-]*)*$`)
)

// find returns the row for a request, and what stands for {}.
func find(table []route, method, path string) (row *route, ref string, ok bool) {
	for i := range table {
		row := &table[i]
		if row.method != method {
			continue
		}
		before, after, named := strings.Cut(row.path, "{}")
		if !named {
			if path == row.path {
				return row, "", true
			}
			continue
		}
		rest, fits := strings.CutPrefix(path, before)
		if !fits {
			continue
		}
		if ref, fits = strings.CutSuffix(rest, after); fits && reference.MatchString(ref) {
			return row, ref, true
		}
	}
	return nil, "", false
}

// to returns the row's path for what stands for {} on an engine.
func (c *call) to(ref string) string {
	path := strings.Replace(c.row.path, "{}", ref, 1)
	if c.version != "" {
		path = "/v" + c.version + path
	}
	return path
}
