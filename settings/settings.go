// Package settings reads and writes info.json, the file in which an
// administrator says what the cluster hands out.
//
//	file, err := settings.Parse("info.json", text)
//	if err != nil {
//		return err // every mistake in the file, one a line, each with its place
//	}
//	typ, err := file.Type("1") // by name, or by its number in the menu
//
// The package is pure: it opens no file and knows no Docker. What the flags in
// additional_options mean is decided elsewhere; [File.OptionError] gives such a
// decision its place in the file.
package settings

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// defaultStartPort is where host ports are given from when the file is silent.
const defaultStartPort = 25000

// What is kept of images when the file is silent.
const (
	defaultReplicas  = 2
	defaultImageDisk = 85
)

// Settings is what the whole cluster agrees on. Its JSON is the same for the
// same value, so it may be kept in a replicated log; it is not the layout of
// info.json, which [Settings.Format] writes.
type Settings struct {
	// Types are the sizes of container on offer, in the order of the menu.
	Types []Type
	// Buffer is what every host keeps for itself.
	Buffer Buffer
	// StartPort is the lowest host port given to containers, 1 to 65535.
	StartPort uint16
	// Options are docker-run flags that every container gets, as written.
	Options []string
	// ImageReplicas is on how many hosts the cluster keeps each named image, 1 to
	// 100.
	ImageReplicas int
	// ImageDisk is how full a host's disk may be, in percent, before copies that
	// the cluster made are removed from it: 1 to 100.
	ImageDisk int
	// Visibility says what users see of what is not theirs: "all" or "own"; empty: all.
	Visibility string `json:",omitempty"`
	// BindRoots are directories below which users may mount what is on the hosts;
	// "{user}" stands for the user's name.
	BindRoots []string `json:",omitempty"`
	// Allow names what users may do besides; nil: the default, empty: nothing.
	Allow []string `json:",omitzero"`
}

// Trusts says whether the settings have what is read since version 5 of the log.
func (s *Settings) Trusts() bool {
	return s.Visibility != "" || len(s.BindRoots) > 0 || s.Allow != nil
}

// Type is one size of container.
type Type struct {
	// Name is what the menu shows. It is unique in its Settings.
	Name string
	// Cores counts whole CPU cores, at least 1.
	Cores int
	// Memory is in bytes, above 0.
	Memory int64
	// GPUs names the model of each card, so two equal cards stand here twice.
	GPUs []string
}

// Buffer is what is never given to a container, on each host.
type Buffer struct {
	// Cores counts whole CPU cores.
	Cores int
	// Memory is in bytes.
	Memory int64
}

// Default returns the settings of a cluster that was given no file: no types,
// no buffer, no options, ports from 25000 up, two copies of each image, and disks
// filled up to 85 percent.
func Default() Settings {
	return Settings{StartPort: defaultStartPort, ImageReplicas: defaultReplicas, ImageDisk: defaultImageDisk}
}

// Complete returns the settings with Default's images where they say nothing of
// images, as those do that an older version wrote.
func (s Settings) Complete() Settings {
	s.ImageReplicas = cmp.Or(s.ImageReplicas, defaultReplicas)
	s.ImageDisk = cmp.Or(s.ImageDisk, defaultImageDisk)
	return s
}

// Type finds a type by its exact name, else by its name in any case, else by
// its number in the menu, which counts from 0. The error lists the menu.
func (s Settings) Type(nameOrIndex string) (Type, error) {
	for _, t := range s.Types {
		if t.Name == nameOrIndex {
			return t, nil
		}
	}
	for _, t := range s.Types {
		if strings.EqualFold(t.Name, nameOrIndex) {
			return t, nil
		}
	}
	if i, err := strconv.Atoi(nameOrIndex); err == nil && i >= 0 && i < len(s.Types) {
		return s.Types[i], nil
	}
	return Type{}, s.noType(nameOrIndex)
}

func (s Settings) noType(asked string) error {
	if len(s.Types) == 0 {
		return errors.New("find type: the settings list no types")
	}
	menu := make([]string, len(s.Types))
	for i, t := range s.Types {
		menu[i] = fmt.Sprintf("%d %q", i, t.Name)
	}
	return fmt.Errorf("no type %q; choose %s", asked, strings.Join(menu, ", "))
}
