package api

import "testing"

func TestTheEnginesSocketIsThisNodesHoweverItIsSpelt(t *testing.T) {
	l := &Local{socket: "/own.sock"}
	for body, want := range map[string]string{
		`{"HostConfig":{"Binds":["/run/docker.sock:/d","/x:/y"]}}`:              `{"HostConfig":{"Binds":["/own.sock:/d","/x:/y"]}}`,
		`{"HostConfig":{"Binds":["\/var\/run\/docker.sock:/d:ro"]}}`:            `{"HostConfig":{"Binds":["/own.sock:/d:ro"]}}`,
		`{"HostConfig":{"Binds":["/run/./docker.sock:/d"]}}`:                    `{"HostConfig":{"Binds":["/own.sock:/d"]}}`,
		`{"HostConfig":{"Mounts":[{"Source":"/var/run/../run//docker.sock"}]}}`: `{"HostConfig":{"Mounts":[{"Source":"/own.sock"}]}}`,
		`{"HostConfig":{"Binds":["/run/docker.sock.d:/var/run/docker.sock"]}}`:  `{"HostConfig":{"Binds":["/run/docker.sock.d:/var/run/docker.sock"]}}`,
		`{"HostConfig":{"Mounts":[{"Source":7,"Target":"/run/docker.sock"}]}}`:  `{"HostConfig":{"Mounts":[{"Source":7,"Target":"/run/docker.sock"}]}}`,
		`{"HostConfig":null}`: `{"HostConfig":null}`,
		`null`:                `null`,
	} {
		if got, err := l.ownSocket([]byte(body)); err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
		}
	}
	for _, source := range []string{"/run/./docker.sock", "/var/run/../run/docker.sock"} {
		if got := hostWish(t, `"Binds":["`+source+`:/d"]`).bound(&wish{}); got != "" {
			t.Errorf("%s ties a container to one host", got)
		}
	}
}
