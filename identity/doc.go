// Package identity says who is speaking: the cluster's certificate authority,
// each node's certificate, the tokens that let a machine join, and the one TCP
// port on which every protocol of the cluster is spoken over TLS 1.3.
//
// A founder makes the authority and signs its own certificate:
//
//	ca, err := identity.NewAuthority(identity.NewID())
//	me := identity.Subject{NodeID: identity.NewID(), Name: "gpu1", Life: 24 * time.Hour}
//	id, err := identity.Create(dir, func(csr []byte) (cert []byte, t identity.Trust, err error) {
//		cert, err = ca.Sign(csr, me)
//		return cert, identity.Trust{Roots: ca.CertPEM()}, err
//	})
//
// A joiner does the same, except that its function sends the request to a
// member, over a connection made with [Token.Client]. From then on both start with
//
//	id, err := identity.Load(dir)
//	port := identity.NewPort(listener, id)
//	go httpServer.Serve(port.Listener(identity.ProtoHTTP))
//	err = port.Run(ctx)
//
// and dial each other with [Identity.Client].
//
// # Names
//
// A certificate names its holder by one URI, ddocker://CLUSTER/node/ID, and
// never by host name or address: machines are renamed and renumbered, and keep
// their identity. Host names and addresses are in the certificate as well, but
// only for stock TLS clients such as docker --tlsverify; nothing here reads them.
// The certificate says who; what that node may do is written in the ledger.
//
// A user's certificate is signed by himself: what counts is its key ([PeerKey]),
// which the ledger knows or does not.
//
// # Authorities
//
// An authority is replaced while the cluster runs. Its [Authority.Successor] is
// vouched for by it ([Authority.Vouch]); all nodes learn to trust both
// ([Identity.SetTrust]); then the successor signs, and in the end it alone is
// trusted. Whoever knows only the old one, as a token or a client's file does, is
// shown the chain of vouchings with every certificate.
//
// # Dates
//
// Certificates start five minutes in the past, because clocks differ. Where
// they differ by more, the error says so rather than "bad certificate".
package identity
