// Package interop holds package log against another implementation of Kafka's
// formats: franz-go reads what it writes, and it reads what franz-go writes. It is
// a module of its own, so that nobody else carries the dependency. There is nothing
// in it but tests.
package interop
