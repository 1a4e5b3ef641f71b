// Renders docker/chart with the standard library alone: render_chart FOLDER RELEASE NAMESPACE VALUES.json
//
// Helm itself cannot be had from the registries that tests install from. Its templates are Go's text/template with functions
// beside; those that the chart uses are here, and JSON stands for toYaml's YAML, of which it is a part.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	var data map[string]any
	if err := json.Unmarshal([]byte(arguments[3]), &data); err != nil {
		return err
	}
	root := map[string]any{
		"Values":  data,
		"Release": map[string]any{"Name": arguments[1], "Namespace": arguments[2], "Service": "Helm"},
		"Chart":   map[string]any{"AppVersion": "0.1.0"},
	}
	all := template.New("chart").Option("missingkey=error")
	all.Funcs(template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var out bytes.Buffer
			err := all.ExecuteTemplate(&out, name, data)
			return out.String(), err
		},
		"nindent": func(count int, text string) string {
			pad := "\n" + strings.Repeat(" ", count)
			return pad + strings.ReplaceAll(text, "\n", pad)
		},
		"toYaml": func(value any) (string, error) {
			text, err := json.Marshal(value)
			return string(text), err
		},
		"join": func(separator string, list any) string {
			var words []string
			for _, one := range list.([]any) {
				words = append(words, fmt.Sprint(one))
			}
			return strings.Join(words, separator)
		},
		"toString": func(value any) string { return fmt.Sprint(value) },
		"quote":    func(value any) string { return fmt.Sprintf("%q", fmt.Sprint(value)) },
		"default": func(fallback, value any) any {
			if value == nil || value == "" {
				return fallback
			}
			return value
		},
		"dict": func(pairs ...any) map[string]any {
			made := map[string]any{}
			for at := 0; at+1 < len(pairs); at += 2 {
				made[pairs[at].(string)] = pairs[at+1]
			}
			return made
		},
		"merge": func(into, from map[string]any) map[string]any {
			for key, value := range from {
				if _, there := into[key]; !there {
					into[key] = value
				}
			}
			return into
		},
	})
	files, err := filepath.Glob(filepath.Join(arguments[0], "templates", "*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := all.New(filepath.Base(file)).Parse(string(text)); err != nil {
			return err
		}
	}
	for _, file := range files {
		if filepath.Ext(file) == ".yaml" {
			fmt.Println("---")
			if err := all.ExecuteTemplate(os.Stdout, filepath.Base(file), root); err != nil {
				return err
			}
			fmt.Println()
		}
	}
	return nil
}
