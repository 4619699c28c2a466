// argo: what Argo CD's own engine makes of our Lua. Objects (YAML documents or JSON) on standard input, a line of JSON for each.
//
//	argo health FILE     {"status", "message"}, by the script in FILE
//	argo discover FILE   {"action": disabled, …}, by the discovery script in FILE
//	argo action FILE     the object as the action's script in FILE leaves it
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	if len(os.Args) != 3 {
		fail(errors.New("argo health|discover|action FILE"))
	}
	script, err := os.ReadFile(os.Args[2])
	if err != nil {
		fail(err)
	}
	input, output := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096), json.NewEncoder(os.Stdout)
	for {
		object := &unstructured.Unstructured{}
		if err := input.Decode(object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		answer, err := judge(os.Args[1], object, string(script))
		if err != nil {
			fail(err)
		}
		if err := output.Encode(answer); err != nil {
			fail(err)
		}
	}
}

// No open libraries: custom scripts get none unless an administrator allows it.
func judge(what string, object *unstructured.Unstructured, script string) (any, error) {
	vm := lua.VM{}
	switch what {
	case "health":
		found, err := vm.ExecuteHealthLua(object, script)
		if err != nil || found == nil {
			return nil, err
		}
		return map[string]string{"status": string(found.Status), "message": found.Message}, nil
	case "discover":
		found, err := vm.ExecuteResourceActionDiscovery(object, []string{script})
		actions := map[string]bool{}
		for _, one := range found {
			actions[one.Name] = one.Disabled
		}
		return actions, err
	case "action":
		found, err := vm.ExecuteResourceAction(object, script, nil)
		if err != nil {
			return nil, err
		}
		if len(found) != 1 || found[0].K8SOperation != lua.PatchOperation {
			return nil, fmt.Errorf("the action is no patch of its object: %v", found)
		}
		return found[0].UnstructuredObj.Object, nil
	}
	return nil, fmt.Errorf("unknown command %q", what)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
