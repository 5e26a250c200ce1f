// Package transport joins nodes that call one another by address.
//
// A [Transport] makes nodes. Each [Node] sends requests to addresses and answers
// those sent to its own with its [Handler]. Requests and answers are frames: a
// [Frame] is a kind, an encoded message, and bulk bytes that travel beside it
// and are never copied in one process. The transport looks at none of them, and
// knows addresses only: which broker lives at one is not its concern.
//
// [Network] joins nodes of one process: a call is a function call, with no
// socket, encoding or hand-off to another goroutine. Its links can be cut,
// slowed and paused and its nodes torn away, so that a test can do to a cluster
// what the world does.
//
// # What a caller may rely on
//
//   - An answer belongs to its request, and comes at most once. A request is
//     handled at most once for each [Node.Call].
//   - Errors tell what is known: one that matches [ErrRefused] says that the
//     request was not handled, a [*RemoteError] that it was, and any other that
//     nobody knows.
//   - The handler's context ends with the caller's, and when the link or either
//     node goes. When [Node.Close] has returned, no handler of that node runs.
//
// # What it does not promise
//
// Calls overlap and are not kept in order: who needs order numbers his requests.
// Nothing is sent again: who wants that must know that an outcome may be unknown.
// A peer that is silent is not found out; bound the call with its context.
//
// Package wire has what messages are encoded with, and package transporttest what
// every Transport must pass.
package transport
