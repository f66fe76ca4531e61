package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// defaultPort is the one port of a node, TCP and UDP.
const defaultPort = "7722"

const agentHelp = `Run the agent of this machine, beside its Docker Engine.

With an empty data directory and without --join it founds a cluster of one.
With --join and --token it joins the cluster of the given host; after that,
plain "ddocker agent" rejoins by itself, also at a new address. Containers keep
running when the agent stops.

One port serves everything, TCP with TLS and UDP with encrypted gossip; the
Docker API is served there to holders of a certificate of the cluster, and on
the local socket to its group.

Every flag can be given in the environment: DDOCKER_DATA_DIR for --data-dir.`

const agentExamples = `  # the first machine
  sudo ddocker agent --config info.json

  # every other machine; the token is printed by "ddocker token" on the first
  sudo ddocker agent --join gpu1 --token ddt1-...`

func agentCommand() *cobra.Command {
	var cfg agentConfig
	var level string
	c := &cobra.Command{
		Use: "agent", Short: "Run this machine's part of the cluster",
		Long: agentHelp, Example: agentExamples, Args: cobra.NoArgs, SilenceUsage: true,
		PreRunE: func(c *cobra.Command, _ []string) error { return fromEnvironment(c.LocalNonPersistentFlags()) },
		RunE: func(c *cobra.Command, _ []string) (err error) {
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("--log-level %q: it is debug, info, warn or error", level)
			}
			cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
			cfg.net, cfg.relays = nodeNetwork(), relayNetwork()
			if cfg.crash, err = suicide(os.Getenv(crashVariable)); err != nil {
				return err
			}
			return runAgent(c.Context(), cfg)
		},
	}
	host, _ := os.Hostname() // without one, --name is asked for
	host, _, _ = strings.Cut(host, ".")
	f := c.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", "/var/lib/ddocker", "keep certificates and the replicated log in this `directory`")
	f.StringVar(&cfg.Listen, "listen", ":"+defaultPort, "listen on this `address`, TCP and UDP")
	f.StringVar(&cfg.Advertise, "advertise", "", "`address` at which other nodes reach this one (default: this machine's, with --listen's port)")
	f.StringVar(&cfg.Socket, "socket", "/run/ddocker/ddocker.sock", "serve local clients on this unix socket `path`")
	f.StringVar(&cfg.InfoFile, "config", "", "`info.json`: a founder takes the cluster's settings from it; its hosts are tried when rejoining")
	f.StringVar(&cfg.DockerHost, "docker-host", "", "`address` of this machine's Docker Engine (default: DOCKER_HOST, or unix:///var/run/docker.sock)")
	f.StringVar(&cfg.Name, "name", host, "`name` of this node, unique in the cluster")
	f.StringVar(&cfg.Join, "join", "", "join the cluster of this `host[:port]`")
	f.StringVar(&cfg.Token, "token", "", "join `token`, as \"ddocker token\" prints it")
	f.StringVar(&level, "log-level", "info", "log this much: debug, info, warn or error")
	return c
}

// fromEnvironment sets the flags that were not given from DDOCKER_NAME_OF_FLAG.
func fromEnvironment(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		key := "DDOCKER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, ok := os.LookupEnv(key)
		if f.Name == "docker-host" && !ok {
			value, ok = os.LookupEnv("DOCKER_HOST")
		}
		if ok && value != "" && !f.Changed && err == nil {
			if err = flags.Set(f.Name, value); err != nil {
				err = fmt.Errorf("%s: %w", key, err)
			}
		}
	})
	return err
}
