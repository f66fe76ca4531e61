package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxPorts is how many ports the cluster chooses for one container at most.
const maxPorts = 1000

// completeOptions asks for whatever the flags left open, in the seed's order and
// words. With nothing open it reads nothing.
func (a *app) completeOptions(ctx context.Context, cluster *connection, o *createOptions, out io.Writer) error {
	p := &prompt{in: bufio.NewReader(a.Stdin), out: out, typed: isTerminal(a.Stdin)}
	steps := []func(context.Context, *connection, *createOptions, *prompt) error{askType, askPorts, askImage, a.askName}
	for _, step := range steps {
		if err := step(ctx, cluster, o, p); err != nil {
			return err
		}
	}
	return nil
}

func askType(ctx context.Context, cluster *connection, o *createOptions, p *prompt) error {
	if o.cpus != "" || o.memory != "" || len(o.gpus) > 0 {
		return nil
	}
	chosen, err := strconv.Atoi(o.serviceType)
	named := o.serviceType != "" && err != nil
	types, err := typeNames(ctx, cluster)
	if err != nil {
		return err
	}
	if len(types) == 0 {
		return errors.New(`the cluster has no service types: set some with "ddocker config apply FILE", or give --cpus and --memory`)
	}
	switch {
	case o.serviceType == "":
		printMenu(p.out, "Service types.", types)
		q := question{"Select one of types (default: 0): ", "--type"}
		if chosen, err = ask(ctx, p, q, numberBelow(len(types), 0)); err != nil {
			return err
		}
	case slices.ContainsFunc(types, func(t string) bool { return strings.EqualFold(t, o.serviceType) }):
		return nil // by name, which may be a number
	case named:
		return fmt.Errorf("there is no type %q: the types are 0 to %d, %s", o.serviceType, len(types)-1, strings.Join(types, "; "))
	case chosen < 0 || chosen >= len(types):
		return fmt.Errorf("there is no type number %d: the types are 0 to %d, %s", chosen, len(types)-1, strings.Join(types, "; "))
	}
	o.serviceType = types[chosen]
	return nil
}

func askPorts(ctx context.Context, _ *connection, o *createOptions, p *prompt) error {
	if o.ports != "" {
		return nil
	}
	q := question{"Input the number of ports (default: 1): ", "--ports"}
	n, err := ask(ctx, p, q, numberBelow(maxPorts+1, 1))
	o.ports = strconv.Itoa(n)
	return err
}

func askImage(ctx context.Context, cluster *connection, o *createOptions, p *prompt) error {
	if o.image != "" {
		return nil
	}
	images, err := imageNames(ctx, cluster)
	if err != nil {
		return err
	}
	if len(images) == 0 {
		return errors.New(`no host has an image: get one with "ddocker pull NAME"`)
	}
	printMenu(p.out, "Docker Images.", images)
	q := question{"Select one of types (default: 0): ", "--image"}
	chosen, err := ask(ctx, p, q, numberBelow(len(images), 0))
	if err != nil {
		return err
	}
	o.image = images[chosen]
	return nil
}

func (a *app) askName(ctx context.Context, _ *connection, o *createOptions, p *prompt) (err error) {
	if o.name == "" {
		name := a.userName() + "_" + time.Now().Format(stamp)
		q := question{"Input Container name (default: " + name + "): ", "--name"}
		o.name, err = ask(ctx, p, q, textOr(name))
	}
	return err
}

// userName is who runs the program, as a container's name can begin.
func (a *app) userName() string {
	name := a.Getenv("USER")
	if known, err := user.Current(); name == "" && err == nil {
		name = known.Username
	}
	return safeName(firstOf(name, "user"))
}

// safeName replaces what docker does not allow in a container's name.
func safeName(name string) string {
	safe := []byte(name)
	for i, b := range safe {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case i > 0 && (b == '.' || b == '-' || b == '_'):
		default:
			safe[i] = 'x'
		}
	}
	return string(safe)
}
