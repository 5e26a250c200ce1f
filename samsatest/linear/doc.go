// Package linear holds one partition of a topic against a model of a log: is there an
// order of its appends and reads, in keeping with when each of them began and ended,
// in which each does what it has answered? It is a module of its own, so that nobody
// else carries the dependency. There is nothing in it but tests.
package linear
