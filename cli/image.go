package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	names "github.com/distribution/reference"
	"github.com/spf13/cobra"
)

// imageCommands are those of docker's image group that know more than docker's:
// hosts, and names that an image has on one host alone.
func (a *app) imageCommands() []*cobra.Command {
	ls := newImages(a)
	ls.Use, ls.Aliases = "ls [OPTIONS] [REPOSITORY[:TAG]]", []string{"list"}
	rm := newRmi(a)
	rm.Use, rm.Aliases = "rm [OPTIONS] IMAGE [IMAGE...]", []string{"rmi", "remove"}
	return []*cobra.Command{ls, rm, newPrune(a), newTag(a), newReplicate(a)}
}

// ofRegistry refuses names that no registry can know, for docker's pull and push.
func ofRegistry(_ *cobra.Command, args []string) error {
	_, err := parseName(args[0])
	return err
}

func newTag(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
		Short: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
		Long: "Give an image of the cluster one more name, on all hosts.\n\n" +
			"NAME@HOST is the image that has a name on that host alone.",
		Example: "  ddocker tag python3_cuda:latest python3_cuda:2026\n" +
			"  ddocker tag python:3@gpu2 python:3-gpu2",
		Args:              named(2, 2, 2),
		ValidArgsFunction: a.completeNames(2, imageNames),
		RunE:              func(c *cobra.Command, args []string) error { return a.tag(c.Context(), args[0], args[1]) },
	}
}

// tag speaks to the route itself: docker's client takes no NAME@HOST.
func (a *app) tag(ctx context.Context, source, target string) error {
	name, err := parseName(target)
	if err != nil {
		return err
	}
	if _, digested := name.(names.Digested); digested {
		return fmt.Errorf("refusing to create a tag with a digest reference: %s", target)
	}
	query := url.Values{"repo": {name.Name()}}
	if tagged, ok := names.TagNameOnly(name).(names.Tagged); ok {
		query.Set("tag", tagged.Tag())
	}
	cluster, err := a.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	answer, err := cluster.send(ctx, http.MethodPost, "/images/"+source+"/tag", query, nil)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// parseName reads the name that an image has or is to have in the cluster or in a
// registry, and writes it out in full.
func parseName(text string) (names.Named, error) {
	name, err := names.ParseNormalizedNamed(text)
	if err == nil {
		return name, nil
	}
	if host := localTo(text); host != "" {
		return nil, fmt.Errorf(`%[1]s is a name on host %[2]s alone: give that image a name of the cluster's with "ddocker tag %[1]s NAME"`, text, host)
	}
	return nil, fmt.Errorf("%q is not an image's name: %w", text, err)
}
