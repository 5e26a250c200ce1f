//go:build !samsa_mutations

package mutate

// On reports whether a mistake is to be made.
func On(string) bool { return false }

// Any reports whether some mistake is made.
func Any() bool { return false }
