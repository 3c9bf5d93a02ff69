package config

import (
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// functions are what expressions in a file may call.
func functions(env Env) map[string]function.Function {
	return map[string]function.Function{
		// env(NAME, DEFAULT) is DEFAULT if the variable is not set or empty,
		// env(NAME) is "" then.
		"env": function.New(&function.Spec{
			Params:   []function.Parameter{{Name: "name", Type: cty.String}},
			VarParam: &function.Parameter{Name: "default", Type: cty.String},
			Type: func(args []cty.Value) (cty.Type, error) {
				if len(args) > 2 {
					return cty.NilType, function.NewArgErrorf(2, "want a name and at most one default")
				}
				return cty.String, nil
			},
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				if got, _ := env.Lookup(args[0].AsString()); got != "" {
					return cty.StringVal(got), nil
				}
				if len(args) == 2 {
					return args[1], nil
				}
				return cty.StringVal(""), nil
			},
		}),
		// file(PATH) is the content of the file, without the newline at its
		// end: the newline is the editor's, not the secret's.
		"file": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}},
			Type:   function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				text, err := env.ReadFile(args[0].AsString())
				if err != nil {
					return cty.NilVal, function.NewArgError(0, err)
				}
				return cty.StringVal(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")), nil
			},
		}),
	}
}
