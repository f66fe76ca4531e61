package options

// refusal is why a flag of docker run has no place in additional_options. It is
// the error that the flag's Set returns.
type refusal string

const (
	sized    refusal = "is decided by the cluster: use types"
	ported   refusal = "is decided by the cluster: ports are given from start_port_num"
	single   refusal = "belongs to one container, not to all of them"
	attached refusal = "needs somebody who waits for the container"
	onHost   refusal = "names a file of one host: write its content here"
)

// Error completes "--gpus …".
func (r refusal) Error() string { return string(r) }

// Set refuses.
func (r refusal) Set(string) error { return r }

// String is empty: no flag has a default.
func (r refusal) String() string { return "" }

// Type names the flag's kind, for pflag's messages.
func (r refusal) Type() string { return "value" }

// refused is one flag that gets a reason instead of "unknown flag".
type refused struct {
	name, short string
	why         refusal
	bare        bool
}

func refusals() []refused {
	return []refused{
		{name: "attach", short: "a", why: attached},
		{name: "cidfile", why: single},
		{name: "cpu-period", why: sized},
		{name: "cpu-quota", why: sized},
		{name: "cpu-shares", short: "c", why: sized},
		{name: "cpus", why: sized},
		{name: "cpuset-cpus", why: sized},
		{name: "cpuset-mems", why: sized},
		{name: "detach", short: "d", why: attached, bare: true},
		{name: "env-file", why: onHost},
		{name: "gpus", why: sized},
		{name: "hostname", short: "h", why: single},
		{name: "ip", why: single},
		{name: "ip6", why: single},
		{name: "label-file", why: onHost},
		{name: "link", why: single},
		{name: "mac-address", why: single},
		{name: "memory", short: "m", why: sized},
		{name: "memory-reservation", why: sized},
		{name: "name", why: single},
		{name: "network-alias", why: single},
		{name: "publish", short: "p", why: ported},
		{name: "publish-all", short: "P", why: ported, bare: true},
		{name: "rm", why: single, bare: true},
		{name: "volumes-from", why: single},
	}
}
