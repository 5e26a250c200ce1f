package transport

import (
	"context"
	"errors"
)

// An Addr names a node of a transport: for [Network] any non-empty text, for TCP
// host:port.
type Addr string

// A Kind says what a frame asks for. The transport only carries it; zero is
// never sent by a caller.
type Kind uint8

// A Frame is one request or one answer. Once handed over it is immutable: the
// sender may not write to Head or Data again, and the receiver may keep slices
// of them but not write to them. In one process they are the sender's own memory.
type Frame struct {
	Kind Kind
	Head []byte   // the encoded message
	Data [][]byte // bulk bytes that the message speaks of, such as record batches
}

// A Handler answers the requests that reach a node. Calls overlap. A handler may
// take as long as it likes (a parked fetch does), but returns soon after ctx has
// ended. context.Cause tells why it has: ErrClosed if the handler's own node has
// closed, ErrBroken if the link has broken or the caller's node has closed, and
// otherwise the caller has given up. Values of the caller's ctx are not carried,
// though they may be seen in one process.
// An error reaches the caller as a [*RemoteError].
type Handler func(ctx context.Context, from Addr, req Frame) (Frame, error)

// A Transport joins nodes, so that they can call one another.
type Transport interface {
	// Join makes a node that is called at addr and answers with handler. With an
	// empty addr and a nil handler it only calls. An addr in use is an error.
	Join(addr Addr, handler Handler) (Node, error)
}

// A Node is one member of a transport.
type Node interface {
	// Call sends req and waits for the answer, or for ctx. Calls may overlap, and
	// are not kept in order. An error matches ErrRefused if req certainly was not
	// handled; after any other error but a *RemoteError it may have been.
	Call(ctx context.Context, to Addr, req Frame) (Frame, error)

	// Close ends the calls under way, in both directions, and frees the address.
	// It returns when no handler of this node runs any more. Again: no effect.
	Close() error
}

var (
	// ErrRefused: nobody answers at that address; the request was not handled.
	ErrRefused = errors.New("transport: refused")
	// ErrBroken: the link broke while the call was under way.
	ErrBroken = errors.New("transport: link broken")
	// ErrClosed: this node has been closed. The request may have been handled.
	ErrClosed = errors.New("transport: closed")
	// ErrInUse: another node has joined at that address.
	ErrInUse = errors.New("transport: address in use")
)

// A RemoteError is a handler's error as its caller sees it.
type RemoteError struct{ Text string }

func (e *RemoteError) Error() string { return "transport: remote: " + e.Text }
