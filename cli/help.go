package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// seedHelp is the help text that ddocker has always had.
const seedHelp = `
Usage: ddocker COMMAND [ARGUMENTS]

Commands:
  ddocker ps                                      List-up running containers
  ddocker ps [-a,--all]                           List-up every container
  ddocker images                                  List-up images
  ddocker inspect <CONTAINER_NAME>                Container details
  ddocker exec <CONTAINER_NAME>                   Access in container
  ddocker start <CONTAINER_NAME>                  Start container
  ddocker stop <CONTAINER_NAME>                   Stop container
  ddocker rm <CONTAINER_NAME>                     Remove container
  ddocker rmi <IMAGE_NAME>                        Remove image
  ddocker nvidia-smi <HOST_NAME>                  Show GPU usage
  ddocker create                                  Create/start container with selected types
  ddocker commit <CONTAINER_NAME> <IMAGE_NAME>    Commit container
`

// helpColumns is the width of help, in characters.
const helpColumns = 80

func writeHelp(w io.Writer, c *cobra.Command) {
	if c.HasParent() {
		io.WriteString(w, commandHelp(c))
		return
	}
	io.WriteString(w, seedHelp)
	for _, group := range append(c.Groups(), &cobra.Group{Title: "More commands:"}) {
		io.WriteString(w, "\n"+group.Title+"\n")
		for _, sub := range c.Commands() {
			if sub.GroupID == group.ID && sub.IsAvailableCommand() && !strings.Contains(seedHelp, "ddocker "+sub.Name()+" ") {
				fmt.Fprintf(w, "  %-48s%s\n", sub.CommandPath(), sub.Short)
			}
		}
	}
	io.WriteString(w, "\nOptions:\n"+flagUsages(c.LocalFlags())+"\nRun 'ddocker COMMAND --help' for more information on a command.\n")
}

// commandHelp is the help of one command, laid out as docker's.
func commandHelp(c *cobra.Command) string {
	var b strings.Builder
	b.WriteString("Usage:  " + useLine(c) + "\n\n")
	var paragraphs []string
	for text := range strings.SplitSeq(strings.TrimSpace(firstOf(c.Long, c.Short)), "\n\n") {
		paragraphs = append(paragraphs, fill(text))
	}
	b.WriteString(strings.Join(paragraphs, "\n\n") + "\n")
	if c.Example != "" {
		b.WriteString("\nExamples:\n" + strings.TrimRight(c.Example, "\n") + "\n")
	}
	if c.HasSubCommands() {
		b.WriteString("\nCommands:\n")
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				width := sub.NamePadding() + 3
				short := wrap(sub.Short, helpColumns-width, "\n"+strings.Repeat(" ", width))
				fmt.Fprintf(&b, "  %-*s%s\n", width-2, sub.Name(), short)
			}
		}
		b.WriteString("\nRun '" + c.CommandPath() + " COMMAND --help' for more information on a command.\n")
	}
	if c.HasAvailableLocalFlags() {
		b.WriteString("\nOptions:\n" + flagUsages(c.LocalFlags()))
	}
	if c.HasAvailableInheritedFlags() {
		b.WriteString("\nGlobal options:\n" + flagUsages(c.InheritedFlags()))
	}
	return b.String()
}

// flagUsages lists flags as docker does, descriptions in a column of their own.
func flagUsages(flags *pflag.FlagSet) string {
	var names, texts []string
	width := 0
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		names, texts = append(names, flagName(f)), append(texts, flagText(f))
		width = max(width, len(names[len(names)-1])+3)
	})
	var b strings.Builder
	for i, name := range names {
		text := wrap(texts[i], helpColumns-width, "\n"+strings.Repeat(" ", width))
		fmt.Fprintf(&b, "%-*s%s\n", width, name, text)
	}
	return b.String()
}

// flagName is a flag with the kind of its value, "-n, --last int". A word in
// back-quotes in the flag's description takes the place of the kind.
func flagName(f *pflag.Flag) string {
	name := "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	kind, _ := pflag.UnquoteUsage(f)
	if kind == "stringArray" || kind == "strings" {
		kind = "list"
	}
	return strings.TrimRight(name+" "+kind, " ")
}

func flagText(f *pflag.Flag) string {
	_, usage := pflag.UnquoteUsage(f)
	switch f.DefValue {
	case "", "0", "0s", "false", "[]", "map[]", "<nil>":
		return usage
	}
	if f.Value.Type() == "string" {
		return fmt.Sprintf("%s (default %q)", usage, f.DefValue)
	}
	return usage + " (default " + f.DefValue + ")"
}

// fill breaks a paragraph anew where one of its lines is too long.
func fill(text string) string {
	long := func(line string) bool { return len(line) > helpColumns }
	if !slices.ContainsFunc(strings.Split(text, "\n"), long) {
		return text
	}
	return wrap(text, helpColumns, "\n")
}

// wrap breaks text into lines of at most width characters.
func wrap(text string, width int, newline string) string {
	var b strings.Builder
	used := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case used == 0:
		case used+1+len(word) > width:
			b.WriteString(newline)
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}

// useLine is the whole command line, "ddocker ps [OPTIONS]".
func useLine(c *cobra.Command) string {
	line := c.Use
	if c.HasSubCommands() {
		line = c.Name() + " COMMAND"
	}
	if c.HasParent() {
		line = c.Parent().CommandPath() + " " + line
	}
	return line
}

// firstOf returns the first text that is not empty.
func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
