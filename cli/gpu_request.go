package cli

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const gpusUsage = "GPUs, all of one host: 'all', N, N:MODEL or 'MODEL,MODEL', and further conditions such as " +
	"N,'mem>=20g', N,mig=3g.40gb or N,model=A100; or device=ID[;ID] with UUIDs or indices"

// gpuRequest is one of docker's device requests. What the cluster is to look at when it
// chooses the cards travels among the options.
type gpuRequest struct {
	count        int // -1: all
	devices      []string
	driver       string
	capabilities []string
	options      map[string]string
}

// parseGPUs reads the value of --gpus, in docker's forms and in those that name models,
// memory and MIG profiles.
func parseGPUs(text string) ([]gpuRequest, error) {
	in := csv.NewReader(strings.NewReader(text))
	in.LazyQuotes = true // as in 2:"TITAN Xp"
	fields, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New(`it is empty: write "all", a number, or a number and a model such as 1:"TITAN Xp"`)
	}
	if err != nil {
		return nil, err
	}
	one := gpuRequest{options: map[string]string{}}
	seen := map[string]bool{}
	var bare []string
	for _, field := range fields {
		if field = strings.TrimSpace(field); field == "" {
			return nil, errors.New("one of its parts is empty")
		}
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			bare = append(bare, field)
			continue
		}
		if key == "mem>" {
			key = "mem"
		}
		if seen[key] {
			return nil, fmt.Errorf("gpu request key '%s' can be specified only once", key) // as docker says it
		}
		seen[key] = true
		if err := one.set(key, value, field); err != nil {
			return nil, err
		}
	}
	return one.counted(bare, seen["count"])
}

// set reads one KEY=VALUE.
func (r *gpuRequest) set(key, value, field string) (err error) {
	if value == "" {
		return fmt.Errorf("gpu request key '%s' has no value", key)
	}
	switch key {
	case "model", "mig":
		r.options[key] = value
	case "mem":
		if n, err := units.RAMInBytes(value); err != nil || n <= 0 {
			return fmt.Errorf("invalid memory (%s): write a size such as mem>=20g", value)
		}
		r.options[key] = value
	case "device":
		r.devices = strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == ';' })
	case "driver":
		r.driver = value
	case "count":
		r.count, err = gpuCount(value)
	case "capabilities":
		r.capabilities = strings.Split(value, ",")
	case "options":
		pairs, err := csv.NewReader(strings.NewReader(value)).Read()
		if err != nil {
			return fmt.Errorf("failed to read gpu options: %w", err)
		}
		for _, pair := range pairs {
			name, value, _ := strings.Cut(pair, "=")
			r.options[name] = value
		}
	default:
		return fmt.Errorf("unexpected key '%s' in '%s': known are model, mem, mig, device, count, driver, capabilities and options", key, field)
	}
	return err
}

// counted returns a request for each of the bare words: a number of cards, of whatever
// model or of one; of several words each names a model.
func (r *gpuRequest) counted(bare []string, counted bool) ([]gpuRequest, error) {
	switch {
	case len(bare) > 0 && counted:
		return nil, errors.New("gpu request key 'count' can be specified only once")
	case len(r.devices) > 0 && (len(bare) > 0 || counted):
		return nil, fmt.Errorf("how many and which devices exclude each other: write %q for several", "device="+strings.Join(append(slices.Clone(r.devices), bare...), ";"))
	case len(bare) == 0:
		if !counted && len(r.devices) == 0 {
			r.count = 1
		}
		return []gpuRequest{*r}, nil
	}
	var all []gpuRequest
	for _, word := range bare {
		one := *r
		one.options = maps.Clone(r.options)
		number, model, named := strings.Cut(word, ":")
		if !named && len(bare) > 1 {
			number, model = "1", word
		}
		var err error
		if one.count, err = gpuCount(number); err != nil {
			return nil, err
		}
		if model = strings.Trim(model, `" `); model != "" {
			if _, twice := one.options["model"]; twice {
				return nil, errors.New("gpu request key 'model' can be specified only once")
			}
			one.options["model"] = model
		}
		if _, err := gpuCount(model); err == nil || named && model == "" || named && one.count < 0 {
			return nil, fmt.Errorf(`'%s' is no number and model: write N:MODEL such as 1:"TITAN Xp"`, word)
		}
		all = append(all, one)
	}
	return all, nil
}

func gpuCount(text string) (int, error) {
	if text == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf(`invalid count (%s): value must be either "all" or an integer, with a model behind a colon as in 1:"TITAN Xp"`, text)
	}
	return max(n, -1), nil
}

// docker writes the request as docker's own flag reads it.
func (r *gpuRequest) docker() string {
	var fields []string
	if len(r.devices) > 0 {
		fields = append(fields, "device="+strings.Join(r.devices, ","))
	} else {
		fields = append(fields, "count="+strconv.Itoa(r.count))
	}
	if r.driver != "" {
		fields = append(fields, "driver="+r.driver)
	}
	if len(r.capabilities) > 0 {
		fields = append(fields, "capabilities="+strings.Join(r.capabilities, ","))
	}
	if len(r.options) > 0 {
		var pairs []string
		for _, key := range sortedKeys(r.options) {
			pairs = append(pairs, key+"="+r.options[key])
		}
		fields = append(fields, "options="+csvLine(pairs))
	}
	return csvLine(fields)
}

func csvLine(fields []string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(fields) // into memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// device is the request in the body of a create.
func (r *gpuRequest) device() container.DeviceRequest {
	request := container.DeviceRequest{
		Driver: r.driver, Count: r.count, DeviceIDs: r.devices,
		Capabilities: [][]string{append(slices.Clone(r.capabilities), "gpu")},
	}
	if len(r.options) > 0 {
		request.Options = r.options
	}
	return request
}

// gpuRequests is --gpus of a command of this program.
type gpuRequests []gpuRequest

// Set takes the place of what was set before.
func (r *gpuRequests) Set(text string) (err error) {
	*r, err = parseGPUs(text)
	return err
}

// String is empty: there is no default.
func (r *gpuRequests) String() string { return "" }

// Type is what help calls the value.
func (r *gpuRequests) Type() string { return "gpu-request" }

// gpuFlag is docker's --gpus with this program's forms besides.
type gpuFlag struct{ pflag.Value }

// Set hands docker's flag what the text says, in docker's form.
func (f gpuFlag) Set(text string) error {
	requests, err := parseGPUs(text)
	if err != nil {
		return err
	}
	for i := range requests {
		if err := f.Value.Set(requests[i].docker()); err != nil {
			return err
		}
	}
	return nil
}

// extendGPUs has a command of docker's take this program's forms of --gpus.
func extendGPUs(c *cobra.Command) {
	if f := c.Flags().Lookup("gpus"); f != nil {
		f.Value, f.Usage = gpuFlag{f.Value}, gpusUsage
	}
}
