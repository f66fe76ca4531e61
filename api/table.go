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
	may          right
	verb         func(a *API, w http.ResponseWriter, c *call)
}

const (
	get  = http.MethodGet
	head = http.MethodHead
	post = http.MethodPost
	put  = http.MethodPut
	del  = http.MethodDelete
)

const (
	pathCommit = "/commit"
	pathSave   = "/images/get"
	pathPush   = "/images/{}/push"
)

// routes returns the whole table. The first row that matches counts.
func routes() []route {
	return slices.Concat(hostRoutes(), containerRoutes(), imageRoutes(), objectRoutes(), swarmRoutes(), clusterRoutes())
}

func hostRoutes() []route {
	return []route{
		{get, "/_ping", open, (*API).ping},
		{head, "/_ping", open, (*API).ping},
		{get, "/version", open, (*API).version},
		{get, "/info", open, (*API).info},
		{get, "/events", lists, (*API).events},
		{get, "/system/df", lists, (*API).diskUsage},
		{post, "/auth", open, (*API).here},
		{get, "/distribution/{}/json", open, (*API).here},
	}
}

func containerRoutes() []route {
	return []route{
		{get, pathContainers, lists, (*API).listContainers},
		{post, "/containers/create", open, (*API).create},
		{post, "/containers/prune", lists, (*API).pruneContainers},
		{get, "/containers/{}/json", seeContainer, (*API).inspectContainer},
		{get, "/containers/{}/logs", seeContainer, (*API).stream},
		{get, "/containers/{}/top", seeContainer, (*API).holder},
		{get, "/containers/{}/stats", seeContainer, (*API).holder},
		{get, "/containers/{}/changes", seeContainer, (*API).holder},
		{get, "/containers/{}/export", ownContainer, (*API).holder},
		{head, "/containers/{}/archive", ownContainer, (*API).holder},
		{get, "/containers/{}/archive", ownContainer, (*API).holder},
		{put, "/containers/{}/archive", ownContainer, (*API).holder},
		{get, "/containers/{}/attach/ws", ownContainer, (*API).stream},
		{post, "/containers/{}/attach", ownContainer, (*API).stream},
		{post, "/containers/{}/start", ownContainer, (*API).start},
		{post, "/containers/{}/stop", ownContainer, (*API).holder},
		{post, "/containers/{}/restart", ownContainer, (*API).start},
		{post, pathKill, ownContainer, (*API).holder},
		{post, "/containers/{}/pause", ownContainer, (*API).holder},
		{post, "/containers/{}/unpause", ownContainer, (*API).holder},
		{post, pathWait, seeContainer, (*API).stream},
		{post, "/containers/{}/resize", ownContainer, (*API).holder},
		{post, "/containers/{}/exec", ownContainer, (*API).createExec},
		{post, "/containers/{}/rename", ownContainer, (*API).rename},
		{post, "/containers/{}/update", ownContainer, (*API).update},
		{del, "/containers/{}", ownContainer, (*API).removeContainer},
		{post, pathCommit, ownContainer, (*API).commit},

		{post, pathExecStart, ownSession, (*API).startExec},
		{post, "/exec/{}/resize", ownSession, (*API).exec},
		{get, pathExec, seeSession, (*API).exec},
	}
}

func imageRoutes() []route {
	return []route{
		{post, pathBuild, open, (*API).build},
		{post, "/build/cancel", open, (*API).here},
		{post, "/build/prune", lists, (*API).pruneBuilds},
		{post, "/session", open, (*API).session},
		{post, "/grpc", open, (*API).session},

		{get, "/images/json", lists, (*API).listImages},
		{post, "/images/create", open, (*API).createImage},
		{post, "/images/load", open, (*API).load},
		{post, "/images/prune", lists, (*API).pruneImages},
		{get, "/images/search", open, (*API).here},
		{get, "/images/{}/json", seeImage, (*API).imageHolder},
		{get, "/images/{}/history", seeImage, (*API).imageHolder},
		{get, pathSave, seeImage, (*API).save},
		{get, "/images/{}/get", seeImage, (*API).imageHolder},
		{post, pathPush, seeImage, (*API).push},
		{post, "/images/{}/tag", seeImage, (*API).tag},
		{del, "/images/{}", ownImage, (*API).removeImage},
	}
}

func objectRoutes() []route {
	return []route{
		{get, "/networks", lists, (*API).listNetworks},
		{post, "/networks/create", open, (*API).createNetwork},
		{post, "/networks/prune", lists, (*API).pruneNetworks},
		{get, "/networks/{}", seeNetwork, (*API).inspectNetwork},
		{del, "/networks/{}", ownNetwork, (*API).removeNetwork},
		{post, "/networks/{}/connect", ownNetwork, (*API).connect},
		{post, "/networks/{}/disconnect", ownNetwork, (*API).disconnect},

		{get, "/volumes", lists, (*API).listVolumes},
		{post, "/volumes/create", open, (*API).createVolume},
		{post, "/volumes/prune", lists, (*API).pruneVolumes},
		{get, "/volumes/{}", seeVolume, (*API).inspectVolume},
		{del, "/volumes/{}", ownVolume, (*API).removeVolume},
	}
}

func clusterRoutes() []route {
	return []route{
		{get, "/plugins", open, (*API).noPlugins},

		{get, "/ddocker/nodes", open, (*API).listNodes},
		{get, "/ddocker/nodes/{}", lists, (*API).inspectNode},
		{post, "/ddocker/nodes/{}/drain", admins, (*API).drainNode},
		{post, "/ddocker/nodes/{}/activate", admins, (*API).activateNode},
		{post, "/ddocker/nodes/{}/labels", admins, (*API).labelNode},
		{del, "/ddocker/nodes/{}", admins, (*API).removeNode},
		{get, "/ddocker/leave", admins, (*API).inspectLeave},
		{post, "/ddocker/leave", admins, (*API).leave},
		{post, "/ddocker/images/{}/replicate", ownImage, (*API).replicate},
		{get, "/ddocker/settings", open, (*API).showSettings},
		{post, "/ddocker/settings", admins, (*API).applySettings},
		{get, "/ddocker/tokens", admins, (*API).listTokens},
		{post, "/ddocker/tokens", admins, (*API).createToken},
		{del, "/ddocker/tokens/{}", admins, (*API).revokeToken},
		{get, "/ddocker/ca", open, (*API).listKeys},
		{post, "/ddocker/ca/rotate", admins, (*API).rotateKey},
		{get, "/ddocker/users", open, (*API).listUsers},
		{post, "/ddocker/users", admins, (*API).addUser},
		{del, "/ddocker/users/{}", admins, (*API).removeUser},
		{post, "/ddocker/users/{}/role", admins, (*API).changeUser},
		{post, "/ddocker/users/{}/keys", admins, (*API).addKey},
		{get, "/ddocker/raft", open, (*API).raftStatus},
		{post, "/ddocker/raft/transfer-leader", admins, (*API).transferLeader},
		{post, "/ddocker/raft/snapshot", admins, (*API).snapshot},
		{get, "/ddocker/raft/snapshot", admins, (*API).saveSnapshot},
		{put, "/ddocker/raft/snapshot", admins, (*API).restoreSnapshot},
		{post, "/ddocker/raft/promote/{}", admins, (*API).promoteServer},
		{post, "/ddocker/raft/demote/{}", admins, (*API).demoteServer},
		{post, "/ddocker/raft/automatic/{}", admins, (*API).autoServer},
		{get, "/ddocker/audit", lists, (*API).showAudit},
		{get, "/ddocker/gpus", lists, (*API).listCards},
		{get, "/ddocker/nvidia-smi", lists, (*API).smi},
	}
}

// swarmRoutes are refused, whatever they ask for: no engine here is to join a swarm.
func swarmRoutes() (rows []route) {
	for _, of := range []string{"swarm", "services", "nodes", "tasks", "secrets", "configs"} {
		rows = append(rows,
			route{get, "/" + of, open, (*API).refuseSwarm}, route{get, "/" + of + "/{}", open, (*API).refuseSwarm},
			route{post, "/" + of + "/{}", open, (*API).refuseSwarm}, route{del, "/" + of + "/{}", open, (*API).refuseSwarm})
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
	keyHash   = regexp.MustCompile(`^[0-9a-f]{64}$`)
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
