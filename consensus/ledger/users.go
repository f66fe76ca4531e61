package ledger

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"time"
)

// Bounds of users.
const (
	maxUsers = 1 << 14
	maxKeys  = 64 // of a user; the oldest go first
)

// rootName is who may do everything on the machine, and so in the cluster.
const rootName = "root"

var userName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,63}$`)

func (r Role) known() bool { return r == Admin || r == Member }

func (l *Ledger) addUser(c *AddUser, at time.Time) Result {
	switch {
	case !userName.MatchString(c.Name) || c.Name == rootName || c.Name == somebody:
		return refuse(Invalid, "%q is no name for a user: it has 1 to 64 letters, digits, dots, dashes and underscores, and is not %q", c.Name, rootName)
	case !c.Role.known():
		return refuse(Invalid, "%q is no role: it is %q or %q", c.Role, Admin, Member)
	case l.users[c.Name] != nil:
		return refuse(Conflict, "there is a user %s already: see \"ddocker user ls\"", c.Name)
	case len(l.users) >= maxUsers:
		return refuse(Conflict, "the cluster has %d users already: remove some", maxUsers)
	}
	l.users[c.Name] = &User{Name: c.Name, Role: c.Role, By: c.By, Created: at.UTC()}
	return Result{}
}

func (l *Ledger) changeUser(c *ChangeUser) Result {
	old := l.users[c.Name]
	switch {
	case old == nil:
		return noUser(c.Name)
	case !c.Role.known():
		return refuse(Invalid, "%q is no role: it is %q or %q", c.Role, Admin, Member)
	}
	u := *old
	u.Role = c.Role
	l.users[u.Name] = &u
	return Result{}
}

func noUser(name string) Result {
	return refuse(Unknown, "No such user: %s: see \"ddocker user ls\"", name)
}

func (l *Ledger) removeUser(c *RemoveUser) Result {
	old := l.users[c.Name]
	if old == nil {
		return noUser(c.Name)
	}
	for _, k := range old.Keys {
		delete(l.keys, k.Hash)
	}
	delete(l.users, c.Name)
	return Result{}
}

func (l *Ledger) addKey(c *AddKey, at time.Time) Result {
	old := l.users[c.User]
	switch owner, taken := l.keys[c.Key.Hash]; {
	case old == nil:
		return noUser(c.User)
	case c.Key.Hash == "" || !c.Key.Expires.After(at):
		return refuse(Invalid, "a key has a hash, and is good for some time")
	case taken && owner != c.User:
		return refuse(Conflict, "the key speaks for another user")
	}
	u := *old
	u.Keys = slices.Clone(old.Keys)
	u.Keys = append(slices.DeleteFunc(u.Keys, func(k UserKey) bool {
		return k.Hash == c.Key.Hash || !k.Expires.After(at)
	}), c.Key)
	u.Keys = u.Keys[max(0, len(u.Keys)-maxKeys):]
	l.setUser(old, &u)
	return Result{}
}

// setUser stands a user in the ledger in the place of old, which may be nil.
func (l *Ledger) setUser(old, u *User) {
	if old != nil {
		for _, k := range old.Keys {
			delete(l.keys, k.Hash)
		}
	}
	for _, k := range u.Keys {
		l.keys[k.Hash] = u.Name
	}
	l.users[u.Name] = u
}

// Users returns all users, by name.
func (l *Ledger) Users() []*User {
	return slices.SortedFunc(maps.Values(l.users), func(a, b *User) int { return cmp.Compare(a.Name, b.Name) })
}

// User returns the user of that name, or nil.
func (l *Ledger) User(name string) *User { return l.users[name] }

// UserByKey returns the user for whom the key speaks at that time, or nil.
func (l *Ledger) UserByKey(hash string, now time.Time) *User {
	u := l.users[l.keys[hash]]
	if u == nil {
		return nil
	}
	for _, k := range u.Keys {
		if k.Hash == hash && k.Expires.After(now) {
			return u
		}
	}
	return nil
}

// RoleOf returns what the one of that name may do: root everything, whom nobody added
// what is its own.
func (l *Ledger) RoleOf(name string) Role {
	if name == rootName {
		return Admin
	}
	if u := l.users[name]; u != nil {
		return u.Role
	}
	return Member
}
