// Package wire encodes and decodes the fields of messages, within bounds.
//
// Integers are big-endian. A length or a count is an unsigned varint and is
// checked against what is left of the message, and against the caller's limit,
// before anything is allocated. A [Reader] keeps the first fault that it meets
// and returns zero values from then on, so that a decoder reads all its fields
// and asks once, with [Reader.Done].
//
// Each package encodes its own messages; this one knows none of them.
package wire
