package ledger

import "strings"

func (a args) objectCommand(verb string, c *Command) {
	switch verb {
	case "define":
		c.Define = &Define{Kind: Kind(a.word(0)), Name: a.word(1), Home: a.key("home"), Owner: a.key("owner")}
	case "made":
		c.Made = &Made{Kind: Kind(a.word(0)), Name: a.word(1), Node: a.key("on"), ID: a.word(2), Found: a.has("found")}
	case "unmade":
		c.Unmade = &Unmade{Kind(a.word(0)), a.word(1), a.key("on"), a.word(2)}
	case "undefine":
		c.Undefine = &Undefine{Kind(a.word(0)), a.word(1), a.word(2), a.keys["done"]}
	case "attach":
		c.Attach = &Attach{a.word(0), a.word(1), a.has("detach")}
	case "move":
		c.Move = &Move{Placements: a.words, Candidates: strings.Split(a.key("to"), ",")}
	default:
		a.rotationCommand(verb, c)
	}
}
