// Package transporttest has what tests of a [transport.Transport], and tests over
// one, are made of: a suite that every Transport must pass, [Run], and [Faulty], a
// Transport that loses, delays and repeats what another would carry faithfully.
package transporttest
