package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
)

type smiOptions struct {
	listing
	loop int // seconds; 0: once
	args []string
}

func newSMI(a *app) *cobra.Command {
	o := &smiOptions{}
	c := &cobra.Command{
		Use:   "nvidia-smi [OPTIONS] [HOST...] [-- ARGS]",
		Short: "Show GPU usage of hosts",
		Long: "Show the GPUs of all hosts, one a line, or what nvidia-smi prints on some hosts.\n\n" +
			"CONTAINER is who was granted a GPU, and \"pid N COMMAND\" a process that was not;\n" +
			"OWNER is whose they are, IDLE since when nothing runs on it. A GPU that cannot be\n" +
			"used has a REASON. With --format the GPUs of the hosts named are listed. A template\n" +
			"for --format also knows .UUID .Profile .Power .Bus .NUMA .Driver .CUDA .State\n" +
			".Processes. ARGS are arguments for nvidia-smi that only read, on all hosts with\n" +
			"GPUs if none is named.",
		Example: "  ddocker nvidia-smi -l 5\n" +
			"  ddocker nvidia-smi gpu1 gpu2\n" +
			"  ddocker nvidia-smi gpu1 -- -q -d MEMORY\n" +
			"  ddocker nvidia-smi --format '{{.Host}} {{.GPU}} {{.UUID}} {{.State}}'",
		Args:              arguments(0, -1),
		ValidArgsFunction: a.completeNames(0, nodeNames),
		RunE: func(c *cobra.Command, args []string) error {
			if dash := c.ArgsLenAtDash(); dash >= 0 {
				args, o.args = args[:dash:dash], args[dash:]
			}
			return a.smi(c.Context(), o, args)
		},
	}
	c.Flags().IntVarP(&o.loop, "loop", "l", 0, "Show it again every so many `seconds`, until Ctrl-C")
	o.formatFlag(c)
	return c
}

func (a *app) smi(ctx context.Context, o *smiOptions, hosts []string) error {
	if o.loop < 0 {
		return fmt.Errorf("invalid --loop %d: write a number of seconds", o.loop)
	}
	if o.format != "" && len(o.args) > 0 {
		return fmt.Errorf("--format is for the cluster's own table, and what nvidia-smi prints for %q is not: leave one of them out", o.args)
	}
	if err := write(io.Discard, cardTable(), o.listing, []cardRow{{}}); err != nil {
		return err
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	show := func(w io.Writer) error { return a.writeCards(ctx, cluster, w, o.listing, hosts) }
	if o.format == "" && len(hosts)+len(o.args) > 0 {
		show = func(w io.Writer) error { return a.writeSMI(ctx, cluster, w, hosts, o.args) }
	}
	if o.loop == 0 {
		return show(a.Stdout)
	}
	return a.again(ctx, time.Duration(o.loop)*time.Second, show)
}

// writeSMI prints what nvidia-smi prints on each host, or on each with a GPU.
func (a *app) writeSMI(ctx context.Context, cluster *connection, w io.Writer, hosts, args []string) error {
	if len(hosts) == 0 {
		cards, err := cluster.cards(ctx)
		if err != nil {
			return err
		}
		for _, c := range cards {
			if !slices.Contains(hosts, c.Host) {
				hosts = append(hosts, c.Host)
			}
		}
		if len(hosts) == 0 {
			a.noCards()
		}
	}
	return a.each(ctx, hosts, func(host string) error {
		text, err := cluster.read(ctx, http.MethodGet, "/ddocker/nvidia-smi", url.Values{"host": {host}, "arg": args}, nil)
		if err != nil {
			return err
		}
		if len(hosts) > 1 {
			fmt.Fprintln(w, host+":")
		}
		_, err = w.Write(text)
		return err
	})
}

// writeCards prints the cluster's table, of these hosts or of all.
func (a *app) writeCards(ctx context.Context, cluster *connection, w io.Writer, l listing, hosts []string) error {
	cards, err := cluster.cards(ctx)
	if err != nil {
		return err
	}
	rows := []cardRow{}
	t := cardTable()
	for _, c := range cards {
		if len(hosts) > 0 && !slices.Contains(hosts, c.Host) {
			continue
		}
		rows = append(rows, c.row())
		if c.Reason != "" && !strings.Contains(t.columns, "Reason") {
			t.columns += "\t{{.Reason}}"
		}
	}
	if len(rows) == 0 {
		a.noCards()
		return nil
	}
	return write(w, t, l, rows)
}

func (a *app) noCards() {
	fmt.Fprintln(a.Stderr, `no host has a GPU that its driver and its Docker Engine show: see "ddocker nodes"`)
}

// again shows something every so often until ctx ends, in the same place where that is
// a terminal.
func (a *app) again(ctx context.Context, every time.Duration, show func(io.Writer) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var frame bytes.Buffer
		if err := show(&frame); err != nil {
			a.redraw(frame.Bytes())
			return err
		}
		a.redraw(frame.Bytes())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// card is a row of /ddocker/gpus.
type card struct {
	Host, Index, UUID, Model, Profile string
	Memory                            int64  // bytes
	Used                              *int64 // bytes; nil, here and below: not read
	Utilization, Temperature, Power   *int   // per cent, degrees Celsius, milliwatts
	Bus                               string
	NUMA                              *int
	Driver, CUDA, State, Reason       string
	Container                         *struct{ ID, Name, Owner string }
	Idle                              *time.Time
	Processes                         []cardProcess
}

type cardProcess struct {
	PID                    int
	User, Command          string
	Memory                 *int64 // bytes of the card
	Container, Name, Owner string
}

func (c *connection) cards(ctx context.Context) ([]card, error) {
	var list []card
	err := c.get(ctx, "/ddocker/gpus", nil, &list)
	return list, err
}

// cardRow is one GPU as templates and --format json see it.
type cardRow struct {
	Bus       string
	CUDA      string
	Container string
	Driver    string
	GPU       string
	Host      string
	Idle      string
	Memory    string
	Model     string
	NUMA      string
	Owner     string
	Power     string
	Processes []cardProcess
	Profile   string
	Reason    string
	State     string
	Temp      string
	UUID      string
	Util      string
}

func cardTable() table {
	return table{
		columns: "{{.Host}}\t{{.GPU}}\t{{.Model}}\t{{.Util}}\t{{.Memory}}\t{{.Temp}}\t{{.Container}}\t{{.Owner}}\t{{.Idle}}",
		titles: titles{
			"Bus": "BUS", "CUDA": "CUDA", "Container": "CONTAINER", "Driver": "DRIVER", "GPU": "GPU", "Host": "HOST",
			"Idle": "IDLE", "Memory": "MEMORY", "Model": "MODEL", "NUMA": "NUMA", "Owner": "OWNER", "Power": "POWER",
			"Processes": "PROCESSES", "Profile": "PROFILE", "Reason": "REASON", "State": "STATE", "Temp": "TEMP",
			"UUID": "UUID", "Util": "UTIL",
		},
	}
}

func (c *card) row() cardRow {
	r := cardRow{
		Bus: dash(c.Bus), CUDA: dash(c.CUDA), Driver: dash(c.Driver), GPU: c.Index, Host: c.Host, Idle: "-",
		Memory: "- / " + mebibytes(&c.Memory), Model: c.Model, NUMA: with(c.NUMA, ""), Power: "-", Processes: c.Processes,
		Profile: c.Profile, Reason: c.Reason, State: c.State, Temp: with(c.Temperature, "C"), UUID: c.UUID, Util: with(c.Utilization, "%"),
	}
	if c.Used != nil {
		r.Memory = strconv.FormatInt(*c.Used>>20, 10) + " / " + mebibytes(&c.Memory)
	}
	if c.Power != nil {
		r.Power = strconv.Itoa(*c.Power/1000) + "W"
	}
	if c.Idle != nil {
		r.Idle = units.HumanDuration(time.Since(*c.Idle))
	}
	r.Container, r.Owner = c.users()
	return r
}

// users says who is on the card: the container that was granted it, and whoever else
// uses it.
func (c *card) users() (containers, owners string) {
	var who, whose []string
	add := func(name, owner string) {
		if !slices.Contains(who, name) {
			who, whose = append(who, name), append(whose, dash(owner))
		}
	}
	holder := ""
	if c.Container != nil {
		holder = c.Container.ID
		add(c.Container.Name, c.Container.Owner)
	}
	for _, p := range c.Processes {
		switch {
		case p.Container != "" && p.Container == holder:
		case p.Container != "":
			add(firstOf(p.Name, shortID(p.Container)), firstOf(p.Owner, p.User))
		default:
			add(fmt.Sprintf("pid %d %s (%s)", p.PID, p.Command, mebibytes(p.Memory)), p.User)
		}
	}
	return dash(strings.Join(who, ", ")), dash(strings.Join(slices.Compact(whose), ", "))
}

// mebibytes is an amount of a card's memory as nvidia-smi writes it.
func mebibytes(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n>>20, 10) + " MiB"
}

// with is a reading with its unit, "-" where there is none.
func with(n *int, unit string) string {
	if n == nil {
		return "-"
	}
	return strconv.Itoa(*n) + unit
}

// dash stands for a text that is empty.
func dash(text string) string { return firstOf(text, "-") }
