// kstatus: objects (YAML documents or JSON) on standard input; for each a line {"status", "message"} as JSON, as Flux and others judge it.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	// this decoder keeps whole numbers whole: kstatus refuses a generation that is a float
	input, output := yaml.NewYAMLOrJSONDecoder(os.Stdin, 4096), json.NewEncoder(os.Stdout)
	for {
		object := &unstructured.Unstructured{}
		if err := input.Decode(object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fail(err)
		}
		result, err := status.Compute(object)
		if err != nil {
			fail(err)
		}
		if err := output.Encode(map[string]string{"status": string(result.Status), "message": result.Message}); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
