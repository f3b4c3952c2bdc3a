// Reads dashboards as Grafana's own SDK does: fields that its schema does not know, values of other types and missing
// ones are errors.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func main() {
	plugins.RegisterDefaultPlugins()
	failed := false
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var found dashboard.Dashboard
	// An empty list of errors is no nil.
	if err := found.UnmarshalJSONStrict(json.RawMessage(text)); err != nil && err.Error() != "" {
		return err
	}
	if err := found.Validate(); err != nil && err.Error() != "" {
		return err
	}
	return nil
}
