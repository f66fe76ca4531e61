// Package cli is ddocker's command line.
//
// The program's main hands over its surroundings and leaves with the code
// that comes back:
//
//	os.Exit(cli.Execute(context.Background(), cli.Env{
//		Args:    os.Args[1:],
//		Stdin:   os.Stdin,
//		Stdout:  os.Stdout,
//		Stderr:  os.Stderr,
//		Getenv:  os.Getenv,
//		Version: version,
//		Extra:   []*cobra.Command{agentCommand},
//	}))
//
// Every command speaks HTTP to an agent, over its unix socket, over TLS or through
// ssh: Docker's Engine API where Docker has a route, /ddocker/ routes where it has
// none. Whatever a command can do, any other client of that API can do too.
//
// The seed's commands are written here. All others that docker has as well are docker's
// own code, from its packages, run on the same connection (docker.go): no verb behaves
// differently through docker and through ddocker.
//
// Data goes to standard output. Progress, questions and warnings go to
// standard error, save for the dialogue of "ddocker create" on a terminal and,
// as docker has it, for what pull, push, load and import tell.
// Exit codes are docker's: 0 for success, 1 for a failed command, 125 for a
// wrong flag and for what the cluster refused to create or exec, 126, 127 and
// all others from the process that exec or run ran, 130 and 143 for an interrupt and
// a request to terminate.
package cli
