package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/samsalog/samsa/transport"
)

// echo answers with what it was asked, and the kind one higher.
func echo(_ context.Context, _ transport.Addr, req transport.Frame) (transport.Frame, error) {
	return transport.Frame{Kind: req.Kind + 1, Head: req.Head, Data: req.Data}, nil
}

// mustCall calls with a context that does not end.
func (s *suite) mustCall(n transport.Node, to transport.Addr, req transport.Frame) transport.Frame {
	s.Helper()
	answer, err := n.Call(context.Background(), to, req)
	if err != nil {
		s.Fatalf("Call: %v", err)
	}
	return answer
}

// wantFrame fails unless the bytes are equal; a nil slice is as good as an empty one.
func (s *suite) wantFrame(got, want transport.Frame) {
	s.Helper()
	if got.Kind != want.Kind || !bytes.Equal(got.Head, want.Head) || !slices.EqualFunc(got.Data, want.Data, bytes.Equal) {
		s.Errorf("kind %d, head of %d bytes, %d pieces of data; want kind %d, head of %d, %d pieces, or their bytes differ",
			got.Kind, len(got.Head), len(got.Data), want.Kind, len(want.Head), len(want.Data))
	}
}

func (s *suite) answers() {
	a, b := s.freeAddr(), s.freeAddr()
	type request struct {
		from  transport.Addr
		frame transport.Frame
	}
	got := make(chan request, 1)
	want := transport.Frame{Kind: 9, Head: []byte("answer"), Data: [][]byte{[]byte("x"), {}, []byte("yz")}}
	s.join(b, func(_ context.Context, from transport.Addr, req transport.Frame) (transport.Frame, error) {
		got <- request{from, req}
		return want, nil
	})
	caller := s.join(a, echo)

	for _, sent := range []transport.Frame{
		{Kind: 1},
		{Kind: 2, Head: []byte("only a head")},
		{Kind: 255, Head: []byte{0}, Data: [][]byte{{1, 2}, {}, {3}}},
	} {
		s.wantFrame(s.mustCall(caller, b, sent), want)
		r := await(s, "the request", got)
		s.wantFrame(r.frame, sent)
		if r.from != a {
			s.Errorf("from = %q, want %q", r.from, a)
		}
	}
}

func (s *suite) bigData() {
	b := s.freeAddr()
	s.join(b, echo)
	caller := s.join("", nil)

	big := make([]byte, 8<<20)
	for i := range big {
		big[i] = byte(i * i >> 7)
	}
	many := make([][]byte, 1000)
	for i := range many {
		many[i] = big[i*100 : i*100+i]
	}
	for _, data := range [][][]byte{{big}, many, {big[:1<<20], nil, big[5 : 4<<20]}} {
		answer := s.mustCall(caller, b, transport.Frame{Kind: 1, Head: big[:70_000], Data: data})
		s.wantFrame(answer, transport.Frame{Kind: 2, Head: big[:70_000], Data: data})
	}
}

func (s *suite) anonymous() {
	b := s.freeAddr()
	s.join(b, func(_ context.Context, from transport.Addr, _ transport.Frame) (transport.Frame, error) {
		return transport.Frame{Head: []byte(from)}, nil
	})
	for range 3 { // as many as there may be
		if from := s.mustCall(s.join("", nil), b, transport.Frame{Kind: 1}).Head; len(from) != 0 {
			s.Errorf("from = %q, want none", from)
		}
	}
}

func (s *suite) nested() {
	a, b := s.freeAddr(), s.freeAddr()
	var left, right transport.Node
	left = s.join(a, func(ctx context.Context, from transport.Addr, req transport.Frame) (transport.Frame, error) {
		if req.Kind == 1 {
			return left.Call(ctx, a, transport.Frame{Kind: 2, Head: req.Head})
		}
		return echo(ctx, from, req)
	})
	right = s.join(b, func(ctx context.Context, from transport.Addr, req transport.Frame) (transport.Frame, error) {
		return right.Call(ctx, from, req)
	})
	answer := s.mustCall(left, b, transport.Frame{Kind: 1, Head: []byte("round")})
	s.wantFrame(answer, transport.Frame{Kind: 3, Head: []byte("round")})
}

func (s *suite) remoteError() {
	b := s.freeAddr()
	s.join(b, func(context.Context, transport.Addr, transport.Frame) (transport.Frame, error) {
		return transport.Frame{Head: []byte("not to be seen")}, errors.New("no such thing")
	})
	answer, err := s.join("", nil).Call(context.Background(), b, transport.Frame{Kind: 1})
	remote, ok := errors.AsType[*transport.RemoteError](err)
	if !ok || remote.Text != "no such thing" {
		s.Errorf("error = %v, want a RemoteError with the handler's text", err)
	}
	if errors.Is(err, transport.ErrRefused) || errors.Is(err, transport.ErrBroken) || errors.Is(err, transport.ErrClosed) {
		s.Errorf("error %v says that the transport is at fault", err)
	}
	s.wantFrame(answer, transport.Frame{})
}

func (s *suite) refused() {
	a, b := s.freeAddr(), s.freeAddr()
	caller := s.join(a, echo)
	call := func() error {
		_, err := caller.Call(context.Background(), b, transport.Frame{Kind: 1})
		return err
	}
	if err := call(); !errors.Is(err, transport.ErrRefused) {
		s.Errorf("before anybody has joined: %v, want ErrRefused", err)
	}
	n := s.join(b, echo)
	if err := call(); err != nil {
		s.Errorf("while joined: %v", err)
	}
	if err := n.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	if err := call(); !errors.Is(err, transport.ErrRefused) && !errors.Is(err, transport.ErrBroken) {
		s.Errorf("right after it has closed: %v, want ErrRefused, or ErrBroken of an old link", err)
	}
	if err := call(); !errors.Is(err, transport.ErrRefused) {
		s.Errorf("after it has closed: %v, want ErrRefused", err)
	}
	s.join(b, echo)
	if err := call(); err != nil {
		s.Errorf("after another has joined: %v", err)
	}
}

func (s *suite) addressInUse() {
	a := s.freeAddr()
	first := s.join(a, echo)
	if _, err := s.transport.Join(a, echo); !errors.Is(err, transport.ErrInUse) {
		s.Errorf("second Join: %v, want ErrInUse", err)
	}
	s.mustCall(s.join("", nil), a, transport.Frame{Kind: 1}) // the first is as it was
	if err := first.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	s.join(a, echo)
}

func (s *suite) badJoin() {
	if _, err := s.transport.Join("", echo); err == nil {
		s.Error("a handler without an address was taken")
	}
	if _, err := s.transport.Join(s.freeAddr(), nil); err == nil {
		s.Error("an address without a handler was taken")
	}
}

func (s *suite) overlap() {
	b := s.freeAddr()
	const parked = 50
	var gates [parked]chan struct{}
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	running := make(chan byte, parked)
	s.join(b, func(ctx context.Context, from transport.Addr, req transport.Frame) (transport.Frame, error) {
		if req.Kind == 1 {
			i := req.Head[0]
			running <- i
			select {
			case <-gates[i]:
			case <-ctx.Done():
			}
		}
		return echo(ctx, from, req)
	})
	caller := s.join("", nil)

	var answered [parked]chan error
	for i := range answered {
		answered[i] = make(chan error, 1)
		go func() {
			_, err := caller.Call(context.Background(), b, transport.Frame{Kind: 1, Head: []byte{byte(i)}})
			answered[i] <- err
		}()
	}
	for range parked {
		await(s, "the handlers to run", running)
	}
	s.mustCall(caller, b, transport.Frame{Kind: 2})
	for i := parked - 1; i >= 0; i-- { // the last first
		close(gates[i])
		if err := await(s, "an answer", answered[i]); err != nil {
			s.Errorf("call %d: %v", i, err)
		}
	}
}

func (s *suite) manyCallers() {
	b := s.freeAddr()
	s.join(b, echo)
	const callers, calls = 8, 100
	var wg sync.WaitGroup
	for c := range callers {
		n := s.join("", nil)
		wg.Go(func() {
			for i := range calls {
				head := binary.BigEndian.AppendUint64(nil, uint64(c*calls+i))
				answer, err := n.Call(context.Background(), b, transport.Frame{Kind: 1, Head: head})
				if err != nil || !bytes.Equal(answer.Head, head) {
					s.Errorf("caller %d, call %d: answer %x, error %v", c, i, answer.Head, err)
				}
			}
		})
	}
	wg.Wait()
}
