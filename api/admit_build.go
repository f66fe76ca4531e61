package api

import (
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"

	"ddocker/consensus/ledger"
	"ddocker/settings"
)

// admitUpdate refuses limits that are not for users.
func (a *API) admitUpdate(c *call, fields map[string]json.RawMessage) error {
	g := a.gateOf(c)
	if g == nil {
		return nil
	}
	return g.admit(admission{check: swap, fields: resourceRules()}, "", raw(fields))
}

// admitStart refuses what containers are started with. Engines before 25 take a whole
// HostConfig from old clients there, past what the container was created with, and so
// past the ledger.
func (a *API) admitStart(w http.ResponseWriter, c *call) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, c.Body, maxBody))
	if err != nil {
		return invalid("read the request: %s", err)
	}
	if !slices.Contains([]string{"", "null", "{}"}, strings.TrimSpace(string(body))) {
		return invalid("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24") // as engines say it
	}
	if query := c.URL.Query(); query.Get("checkpoint-dir") != "" && !a.who(c).admin() {
		return refused("checkpoint-dir", query.Get("checkpoint-dir"), "")
	}
	return nil
}

// pathBuild is a build by the engine's own route.
const pathBuild = "/build"

// buildFields are fields of HostConfig by what the query of a build calls them.
func buildFields() map[string]string {
	return map[string]string{
		"cgroupparent": "CgroupParent", "cpushares": "CpuShares", "isolation": "Isolation", "memory": "Memory", "memswap": "MemorySwap",
		"networkmode": "NetworkMode", "securityopt": "SecurityOpt", "ulimits": "Ulimits",
	}
}

// buildFree are words in the query of a build that concern nobody but the user.
func buildFree() []string {
	return []string{
		"dockerfile", "t", "extrahosts", "remote", "q", "nocache", "cachefrom", "pull", "rm", "forcerm", "cpusetcpus", "cpusetmems",
		"cpuperiod", "cpuquota", "buildargs", "shmsize", "squash", "labels", "platform", "target", "outputs", "version", "session", "buildid",
	}
}

// admitBuild refuses builds where they are not for users, and what users may not say of
// one. What BuildKit is told on a connection of its own is for its own rules.
func (a *API) admitBuild(c *call) error {
	g := a.gateOf(c)
	if g == nil {
		return nil
	}
	if !g.s.Allows(settings.AllowBuild) {
		return refused("build", "", settings.AllowBuild)
	}
	if c.row.path != pathBuild {
		return nil
	}
	fields := map[string]json.RawMessage{}
	for key, values := range c.URL.Query() {
		value := strings.Join(values, "")
		field, known := buildFields()[key]
		switch {
		case value == "" || slices.Contains(buildFree(), key):
		case !known:
			return refused(key, value, "")
		case len(values) > 1 && field != "SecurityOpt":
			return invalid("%s is given twice", key)
		default:
			var err error
			if fields[field], err = buildField(field, values); err != nil {
				return err
			}
		}
	}
	if err := g.admit(admission{check: swap, fields: hostRules()}, "", raw(fields)); err != nil {
		return err
	}
	return a.admitBuildNetwork(c)
}

// buildField writes what a query says as a body would.
func buildField(field string, values []string) (json.RawMessage, error) {
	switch field {
	case "SecurityOpt":
		return raw(values), nil
	case "Ulimits", "CpuShares", "Memory", "MemorySwap":
		if !json.Valid([]byte(values[0])) {
			return nil, wrongKind(field)
		}
		value, err := tidy(json.RawMessage(values[0]), shape{reflect.TypeFor[[]*container.Ulimit]()})
		if err != nil {
			return nil, invalid("read the request: in %s: %s", field, err)
		}
		return value, nil
	}
	return raw(values[0]), nil
}

// admitBuildNetwork refuses to build on others' networks.
func (a *API) admitBuildNetwork(c *call) error {
	mode := c.URL.Query().Get("networkmode")
	if strings.HasPrefix(mode, modeContainer) {
		return refused("networkmode", mode, "")
	}
	if mode == "" || mode == "default" || slices.Contains(predefined, mode) {
		return nil
	}
	return a.usesObject(c, ledger.Network, mode)
}
