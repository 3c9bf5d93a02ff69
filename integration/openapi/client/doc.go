// Package client is made of /openapi.json when the test runs; see
// integration/openapi_test.go.
package client

import _ "github.com/oapi-codegen/runtime" // what is made needs it
