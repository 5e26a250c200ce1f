package samsa_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The first Go block of the README is a program of its own: that of examples/hello.
func TestREADMEBeginsWithAProgramThatRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	block, _, ok := strings.Cut(rest, "```")
	require.True(t, ok)
	program, err := os.ReadFile("examples/hello/main.go")
	require.NoError(t, err)
	require.Equal(t, string(program), block)
	require.LessOrEqual(t, strings.Count(block, "\n"), 40)
	out, err := exec.CommandContext(t.Context(), "go", "run", "./examples/hello").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "sent to partition 4 at offset 0\nfrom Soho: to the airport\n", string(out))
}
