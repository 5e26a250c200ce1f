//go:build samsa_mutations

package mutate

var mistake string

// On reports whether a mistake is to be made.
func On(name string) bool { return mistake == name }

// Set has one mistake made from now on; "" is none. It must not overlap On.
func Set(name string) { mistake = name }
