// Package api serves the Docker Engine API for the whole cluster, and
// ddocker's own routes under /ddocker/.
//
//	a := api.New(api.Config{Self: id, Log: consensus, Node: node, Engine: engine, …})
//	go a.Run(ctx)
//	http.Serve(socket, a)           // clients: any request, to any node
//	http.Serve(rpc, a.Local())      // other nodes: requests for this node's engine
//
// There is one table of routes, and one verb a row says where the request goes:
//
//	here    to this node's engine
//	holder  to the engine that has the container, exec session or image
//	each    to every engine, the answers merged
//	place   through the ledger
//	refuse  nowhere
//
// Names of images are the ledger's: whatever makes one claims its name first, and
// an image comes to the host that needs it from one that has it.
//
// A new route of Docker's is a new row. What is not in the table reaches no
// engine. Paths towards an engine are built from the row and from what the
// ledger knows, never copied from the client.
package api
