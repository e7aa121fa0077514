// What MetalLB itself says of a configuration. It reads one set of objects per line from standard input, asks MetalLB's own
// parser and allocator, and answers with one line each.
//
// Both are internal to MetalLB's module. Go decides by the import path who may use it, and the path of this module
// begins with MetalLB's: see go.mod. Nothing of MetalLB is copied.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"go.universe.tf/metallb/internal/config"
	corev1 "k8s.io/api/core/v1"
)

// A question: the mode of BGP, native, frr or frr-k8s, and objects as they are in manifests.
type question struct {
	Mode    string            `json:"mode"`
	Objects []json.RawMessage `json:"objects"`
}

// An answer. A set is transient when something is missing that an object names; then Rest says what becomes of it once
// that is there. Of one that is accepted, Services says what its Services get, in their order.
type answer struct {
	Verdict  string       `json:"verdict"`
	Error    string       `json:"error,omitempty"`
	Rest     string       `json:"rest,omitempty"`
	Services []assignment `json:"services,omitempty"`
}

const (
	accepted  = "accepted"
	refused   = "refused"
	transient = "transient"
	// The parser does not survive the set.
	panicked = "panicked"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	for in.Scan() {
		line, err := json.Marshal(judge(in.Bytes()))
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err == nil {
			err = out.Flush()
		}
		fail(err)
	}
	fail(in.Err())
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func judge(line []byte) answer {
	var asked question
	fail(json.Unmarshal(line, &asked))
	resources, services, err := read(asked.Objects)
	if err != nil {
		return answer{Verdict: refused, Error: err.Error()}
	}
	first := ask(resources, services, asked.Mode)
	if first.Verdict == transient {
		rest := ask(complete(resources), nil, asked.Mode)
		if rest.Verdict == transient {
			fail(errors.New("still missing after all was added: " + rest.Error))
		}
		first.Rest = rest.Verdict
		first.Error += "; " + rest.Error
	}
	return first
}

func ask(resources config.ClusterResources, services []corev1.Service, mode string) (verdict answer) {
	defer func() {
		if cause := recover(); cause != nil {
			verdict = answer{Verdict: panicked, Error: fmt.Sprint(cause)}
		}
	}()
	parsed, err := config.For(resources, config.ValidationFor(mode), config.ForOptions{})
	var missing config.TransientError
	switch {
	case err == nil:
		return answer{Verdict: accepted, Services: assign(parsed.Pools, services)}
	case errors.As(err, &missing):
		return answer{Verdict: transient, Error: err.Error()}
	default:
		return answer{Verdict: refused, Error: err.Error()}
	}
}
