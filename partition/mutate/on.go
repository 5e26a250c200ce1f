//go:build samsa_mutations

package mutate

var mistake string

// On reports whether a mistake is to be made.
func On(name string) bool { return mistake == name }

// Any reports whether some mistake is made.
func Any() bool { return mistake != "" }

// Set has one mistake made from now on; "" is none. It must not overlap On.
func Set(name string) { mistake = name }
