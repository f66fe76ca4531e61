package ledger

import "time"

func (l *Ledger) addToken(t Token, at time.Time) Result {
	for hash, old := range l.tokens {
		if !old.Expires.After(at) || old.Uses <= 0 {
			delete(l.tokens, hash)
		}
	}
	l.tokens[t.Hash] = t
	return Result{}
}

func (l *Ledger) useToken(c *UseToken, at time.Time) Result {
	const next = `: print a new one with "ddocker token" on any host of the cluster`
	t, ok := l.tokens[c.Hash]
	switch {
	case !ok:
		return refuse(Unknown, "the join token is not one of this cluster, or has expired"+next)
	case !t.Expires.After(at):
		return refuse(Unknown, "the join token expired at %s"+next, t.Expires.UTC().Format(time.RFC3339))
	case t.Uses <= 0:
		return refuse(Unknown, "the join token has been used as often as it may"+next)
	}
	t.Uses--
	l.tokens[c.Hash] = t
	return Result{}
}
