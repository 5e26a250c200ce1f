// Package mutate lets known mistakes back in, so that tests can show that they would be
// found. Without the build tag samsa_mutations [On] is false for the compiler too, and
// nothing of it is left in a program.
//
// A mistake is known by the number under which others have made it, or by a word of our
// own.
package mutate
