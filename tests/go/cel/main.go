// cel: objects (JSON, one in a line) on standard input, judged by the three expressions of one entry of a Flux Kustomization's healthCheckExprs,
// given as JSON in the first argument. A line {"status"} as JSON for each, in the order in which Flux asks (fluxcd/pkg/runtime/cel).
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
)

func main() {
	var asked struct{ Current, Failed, InProgress string }
	check(json.Unmarshal([]byte(os.Args[1]), &asked))
	names := []string{"apiVersion", "kind", "metadata", "spec", "status", "data"}
	options := []cel.EnvOption{cel.OptionalTypes(), ext.Strings(), ext.Lists(), ext.Math()}
	for _, name := range names {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	check(err)
	ask := func(text string) func(map[string]any) bool {
		if text == "" {
			return func(map[string]any) bool { return false }
		}
		parsed, issues := env.Compile(text)
		check(issues.Err())
		program, err := env.Program(parsed)
		check(err)
		return func(object map[string]any) bool {
			result, _, err := program.Eval(object)
			check(err)
			said, ok := result.Value().(bool)
			if !ok {
				check(fmt.Errorf("%s: not a bool: %v", text, result))
			}
			return said
		}
	}
	inProgress, failed, current := ask(asked.InProgress), ask(asked.Failed), ask(asked.Current)
	input, output := bufio.NewReader(os.Stdin), json.NewEncoder(os.Stdout)
	for ended := false; !ended; {
		line, err := input.ReadBytes('\n')
		if ended = errors.Is(err, io.EOF); !ended {
			check(err)
		}
		if text := strings.TrimSpace(string(line)); text == "" || text == "---" {
			continue
		}
		object := map[string]any{}
		check(json.Unmarshal(line, &object))
		// Flux gives an empty map for what is missing
		for _, name := range names {
			if _, there := object[name]; !there {
				object[name] = map[string]any{}
			}
		}
		status := "InProgress"
		switch {
		case inProgress(object):
		case failed(object):
			status = "Failed"
		case current(object):
			status = "Current"
		}
		check(output.Encode(map[string]string{"status": status}))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
