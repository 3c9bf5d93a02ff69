//go:build integration && !race

package integration_test

// raceEnabled says that the tests run with -race; then lictor does too.
const raceEnabled = false
