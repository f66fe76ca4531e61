package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Where old swarm's users write rules, beside the environment: as JSON lists.
const (
	labelConstraints = "com.docker.swarm.constraints"
	labelAffinities  = "com.docker.swarm.affinities"
)

const (
	constraint = "constraint" // of the host
	affinity   = "affinity"   // to what is on it
	maxRules   = 64
	maxRule    = 1000 // bytes of one
)

// rule is one wish for a host, as old swarm's users write it:
// "constraint:node==gpu*", "affinity:container!=~/web-[0-9]/".
type rule struct {
	text      string
	kind, key string
	not, soft bool
	value     string
	means     *regexp.Regexp
}

var ruleText = regexp.MustCompile(`^(constraint|affinity):([^=!~\s]+)(==|!=)(~?)([^~].*)$`)

func parseRule(text string) (rule, error) {
	m := ruleText.FindStringSubmatch(text)
	if m == nil || len(text) > maxRule {
		return rule{}, fmt.Errorf("%.100q is no rule for a host: it has a key, == or != (==~ or !=~ where it may be dropped) and a value, such as constraint:node==gpu1", text)
	}
	r := rule{text: text, kind: m[1], key: m[2], not: m[3] == "!=", soft: m[4] != "", value: m[5]}
	pattern := ""
	if n := len(r.value); n > 2 && r.value[0] == '/' && r.value[n-1] == '/' {
		pattern = r.value[1 : n-1]
	} else {
		pattern = "^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(r.value)) + "$"
	}
	var err error
	if r.means, err = regexp.Compile(pattern); err != nil {
		return rule{}, fmt.Errorf("%s: %w", text, err)
	}
	return r, nil
}

// one says whether the rule asks for one thing by its very name.
func (r *rule) one() bool { return !r.not && !r.soft && !strings.ContainsAny(r.value, "*?/") }

// any says whether one of the words is what the rule's value means.
func (r *rule) any(words ...string) bool { return slices.ContainsFunc(words, r.means.MatchString) }

// takeRules returns the rules that a create's body has for its host. Those in the
// environment are kept as labels instead, as old swarm did.
func takeRules(body map[string]json.RawMessage) (rules []rule, err error) {
	var env []string
	var labels map[string]string
	if err := readKey(body, "Env", &env); err != nil {
		return nil, err
	}
	if err := readKey(body, "Labels", &labels); err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(slices.Clone(env), isRule)
	for _, of := range [...]struct{ kind, label string }{{constraint, labelConstraints}, {affinity, labelAffinities}} {
		texts, err := labelRules(labels, of.label)
		if err != nil {
			return nil, err
		}
		known := len(texts)
		for _, e := range env {
			if text, ok := strings.CutPrefix(e, of.kind+":"); ok && !slices.Contains(texts, text) {
				texts = append(texts, text)
			}
		}
		if len(texts) > known {
			labels = maps.Clone(labels)
			if labels == nil {
				labels = map[string]string{}
			}
			labels[of.label] = string(raw(texts))
		}
		for _, text := range texts {
			r, err := parseRule(of.kind + ":" + text)
			if err != nil {
				return nil, err
			}
			rules = append(rules, r)
		}
	}
	if len(kept) < len(env) {
		body["Env"], body["Labels"] = raw(kept), raw(labels)
	}
	more, err := nodeRules(labels)
	if rules = append(rules, more...); len(rules) > maxRules {
		return nil, fmt.Errorf("more than %d rules for a host", maxRules)
	}
	return rules, err
}

func isRule(env string) bool {
	return strings.HasPrefix(env, constraint+":") || strings.HasPrefix(env, affinity+":")
}

// labelRules reads the rules in a label.
func labelRules(labels map[string]string, label string) (texts []string, err error) {
	if text := labels[label]; text != "" && json.Unmarshal([]byte(text), &texts) != nil {
		return nil, fmt.Errorf(`label %s: it is no JSON list such as ["node==gpu1"]`, label)
	}
	return texts, nil
}

// nodeRules reads the label ddocker.node where it says more than a host's name:
// "ddocker.node=gpu*", "ddocker.node==~gpu1", "ddocker.node!=gpu1".
func nodeRules(labels map[string]string) (rules []rule, err error) {
	for _, not := range []bool{false, true} {
		key, operator := labelNode, "=="
		if not {
			key, operator = labelNode+"!", "!="
		}
		value, given := labels[key]
		if !given || value == "" {
			continue
		}
		name := strings.TrimPrefix(value, "=")
		if rest, ok := strings.CutPrefix(value, "!="); ok && !not {
			operator, name = "!=", rest
		}
		r, err := parseRule(constraint + ":node" + operator + name)
		if err != nil {
			return nil, fmt.Errorf("label %s: %w", key, err)
		}
		r.text = "label " + key + "=" + value
		rules = append(rules, r)
	}
	return rules, nil
}

// readKey reads one field of a body; one that is not there leaves into as it is.
func readKey(body map[string]json.RawMessage, key string, into any) error {
	if body[key] == nil {
		return nil
	}
	if err := json.Unmarshal(body[key], into); err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}
