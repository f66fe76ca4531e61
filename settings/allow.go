package settings

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// Visibilities: what users see of what is not theirs.
const (
	VisibleAll = "all"
	VisibleOwn = "own"
)

// What users may be allowed besides, by the words of the list "allow". AllowBuild is
// the default.
const (
	AllowBuild          = "build"           // to build images
	AllowPrivileged     = "privileged"      // containers and exec with all of the host's rights
	AllowDevices        = "devices"         // every device but NVIDIA's cards, and rules for devices
	AllowHostNetwork    = "host-network"    // the host's namespaces
	AllowHostPID        = "host-pid"        //
	AllowHostIPC        = "host-ipc"        //
	AllowHostUTS        = "host-uts"        //
	AllowHostUserns     = "host-userns"     //
	AllowHostCgroupns   = "host-cgroupns"   //
	AllowCgroupParent   = "cgroup-parent"   // a cgroup of the host's
	AllowSysctls        = "sysctls"         // every sysctl
	AllowSecurityOpts   = "security-opts"   // other profiles of seccomp, AppArmor and SELinux, and paths that engines mask
	AllowVolumeOptions  = "volume-options"  // options of volumes, which can mount all of the host
	AllowNetworkOptions = "network-options" // options of networks and endpoints
	AllowSubnets        = "subnets"         // addresses of networks, which can be others'
	AllowAnnotations    = "annotations"     // of containers, for their runtime
	AllowPriority       = "priority"        // before others' containers, when it comes to cores, disks and memory
	AllowSwap           = "swap"            // more than as much as memory
)

// What users may be allowed by name, as in "cap-add=SYS_PTRACE".
const (
	AllowCapability    = "cap-add"
	AllowDevice        = "device"
	AllowSysctl        = "sysctl"
	AllowSecurityOpt   = "security-opt"
	AllowRuntime       = "runtime"
	AllowLogDriver     = "log-driver"
	AllowVolumeDriver  = "volume-driver"
	AllowNetworkDriver = "network-driver"
)

// Allowances returns all words.
func Allowances() []string { return slices.Concat(bareAllowances(), namedAllowances()) }

// bareAllowances are the words that stand alone.
func bareAllowances() []string {
	return []string{
		AllowBuild, AllowPrivileged, AllowDevices, AllowHostNetwork, AllowHostPID, AllowHostIPC, AllowHostUTS,
		AllowHostUserns, AllowHostCgroupns, AllowCgroupParent, AllowSysctls, AllowSecurityOpts, AllowVolumeOptions,
		AllowNetworkOptions, AllowSubnets, AllowAnnotations, AllowPriority, AllowSwap,
	}
}

// namedAllowances are the words that take a name.
func namedAllowances() []string {
	return []string{
		AllowCapability, AllowDevice, AllowSysctl, AllowSecurityOpt, AllowRuntime, AllowLogDriver, AllowVolumeDriver, AllowNetworkDriver,
	}
}

// defaultAllow is what users may do besides where the settings do not say.
func defaultAllow() []string { return []string{AllowBuild} }

// Allowed returns the words for what users may do besides.
func (s Settings) Allowed() []string {
	if s.Allow == nil {
		return defaultAllow()
	}
	return s.Allow
}

// Allows says whether users may do what the word stands for.
func (s Settings) Allows(word string) bool { return slices.Contains(s.Allowed(), word) }

// plainName is what a user's name must be to stand in a path.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)

// ownRoot stands for the user's name in a root.
const ownRoot = "{user}"

// Roots returns the directories below which the user may mount what is on the hosts.
func (s Settings) Roots(user string) (roots []string) {
	for _, root := range s.BindRoots {
		if strings.Contains(root, ownRoot) && !plainName.MatchString(user) {
			continue
		}
		roots = append(roots, strings.ReplaceAll(root, ownRoot, user))
	}
	return roots
}

func (r *reader) visibility(c cursor) string {
	switch v := c.string(); v {
	case VisibleAll, "":
		return "" // the default, which every version can read
	case VisibleOwn:
		return v
	default:
		c.fail("must be %q or %q", VisibleAll, VisibleOwn)
		return ""
	}
}

func (r *reader) root(c cursor) string {
	root := c.string()
	switch {
	case root == "":
	case !path.IsAbs(root) || path.Clean(root) != root:
		c.fail("must be the whole path of a directory, without . and .. and a slash at its end")
	case root == "/":
		c.fail("would give users all of every host: make them admins instead")
	case strings.ContainsAny(strings.ReplaceAll(root, ownRoot, ""), "{}*?:"):
		c.fail("is taken as it is, but for %s, which stands for the user's name", ownRoot)
	}
	return root
}

func (r *reader) allowance(c cursor) string {
	text := c.string()
	name, value, named := strings.Cut(text, "=")
	switch {
	case text == "" || !named && slices.Contains(bareAllowances(), text):
	case named && slices.Contains(namedAllowances(), name):
		if value == "" {
			c.fail("%q must say which", text)
		}
	case !named && slices.Contains(namedAllowances(), name):
		c.fail("%q must say which, such as %q", text, text+"=…")
	default:
		c.fail("unknown allowance %q (%s)", text, suggest(name, Allowances()))
	}
	return text
}

// allow reads the list of allowances. The default is nil, which every version can read.
func (r *reader) allow(c cursor) []string {
	list := []string{}
	c.elements(func(_ int, c cursor) { list = append(list, r.allowance(c)) })
	if slices.Equal(list, defaultAllow()) {
		return nil
	}
	return list
}
