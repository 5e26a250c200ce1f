package samsa

import (
	"context"
	"errors"
	"fmt"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/node"
	"github.com/samsalog/samsa/transport"
	"github.com/samsalog/samsa/transport/wire"
)

// The kinds of messages between clients and brokers. Those below are between
// brokers; package node has them. A number is never used again for anything else.
const (
	kindMetadata transport.Kind = iota + 32
	kindCreateTopic
	kindProduce
	kindRead
	kindInfo
	kindGroupHeartbeat
	kindCommit
	kindFetchOffsets
	kindDescribeGroup
	kindFindTime
	kindDeleteBefore
	kindDeleteTopic
	kindAddPartitions
	kindAlterTopic
	kindReassign
	kindTransfer
	kindElect
	kindVoter
	kindListGroups
)

// handle answers what reaches the broker's transport node.
func (b *Broker) handle(ctx context.Context, _ transport.Addr, f transport.Frame) (transport.Frame, error) {
	<-b.started // which Open, having joined the transport, waits for nothing to close
	switch {
	case f.Kind == transport.Kind(node.KindQuorum):
		head, err := b.quorum.Handle(ctx, f.Head)
		return transport.Frame{Kind: f.Kind, Head: head}, err
	case f.Kind < kindMetadata:
		m, err := b.node.Handle(ctx, node.Message{Kind: node.Kind(f.Kind), Head: f.Head, Data: f.Data})
		return transport.Frame{Kind: f.Kind, Head: m.Head, Data: m.Data}, err
	}
	return b.serve(ctx, f)
}

// serve answers a client, which may be the broker's own. It is the table from the
// kind of a message to what handles it.
func (b *Broker) serve(ctx context.Context, f transport.Frame) (transport.Frame, error) {
	switch f.Kind {
	case kindMetadata:
		return reply(ctx, f, partition.DecodeMetadataRequest, b.node.HandleMetadata, (*partition.Image).Encode)
	case kindCreateTopic:
		return answer(f, partition.DecodeCreateTopicRequest, func(req partition.CreateTopicRequest) (partition.CreateTopicResponse, [][]byte) {
			return b.node.HandleCreateTopic(ctx, req, newUUID()), nil
		}, (*partition.CreateTopicResponse).Encode)
	case kindProduce:
		return answer(f, partition.DecodeProduceRequest, func(req partition.ProduceRequest) (partition.ProduceResponse, [][]byte) {
			if len(f.Data) != 1 {
				return partition.ProduceResponse{Code: partition.Malformed}, nil
			}
			return b.node.Produce(ctx, req, f.Data[0]), nil
		}, (*partition.ProduceResponse).Encode)
	case kindRead:
		return answer(f, partition.DecodeReadRequest, func(req partition.ReadRequest) (partition.ReadResponse, [][]byte) {
			return b.node.HandleRead(ctx, req)
		}, (*partition.ReadResponse).Encode)
	case kindInfo:
		return reply(ctx, f, partition.DecodeInfoRequest, b.node.HandleInfo, (*partition.InfoResponse).Encode)
	case kindFindTime:
		return reply(ctx, f, partition.DecodeFindTimeRequest, b.node.HandleFindTime, (*partition.FindTimeResponse).Encode)
	case kindDeleteBefore:
		return reply(ctx, f, partition.DecodeDeleteBeforeRequest, b.node.HandleDeleteBefore, (*partition.DeleteBeforeResponse).Encode)
	case kindGroupHeartbeat:
		return reply(ctx, f, group.DecodeHeartbeatRequest, b.groups.heartbeat, (*group.HeartbeatResponse).Encode)
	case kindCommit:
		return reply(ctx, f, offsets.DecodeCommitRequest, b.groups.commit, (*offsets.CommitResponse).Encode)
	case kindFetchOffsets:
		return reply(ctx, f, offsets.DecodeFetchRequest, b.groups.fetch, (*offsets.FetchResponse).Encode)
	case kindDescribeGroup:
		return reply(ctx, f, group.DecodeDescribeRequest, b.groups.describe, (*group.DescribeResponse).Encode)
	case kindListGroups:
		return reply(ctx, f, group.DecodeListRequest, b.groups.list, (*group.ListResponse).Encode)
	}
	return b.administer(ctx, f)
}

// administer answers an operator.
func (b *Broker) administer(ctx context.Context, f transport.Frame) (transport.Frame, error) {
	switch f.Kind {
	case kindDeleteTopic:
		return change(ctx, f, partition.DecodeDeleteTopicRequest, b.node.HandleDeleteTopic)
	case kindAddPartitions:
		return change(ctx, f, partition.DecodeAddPartitionsRequest, b.node.HandleAddPartitions)
	case kindAlterTopic:
		return change(ctx, f, partition.DecodeAlterTopicRequest, b.node.HandleAlterTopic)
	case kindReassign:
		return change(ctx, f, partition.DecodeReassignRequest, b.node.HandleReassign)
	case kindTransfer:
		return change(ctx, f, partition.DecodeTransferRequest, b.node.HandleTransfer)
	case kindElect:
		return change(ctx, f, partition.DecodeElectRequest, b.node.HandleElect)
	case kindVoter:
		return change(ctx, f, partition.DecodeVoterRequest, b.node.HandleVoter)
	}
	return transport.Frame{}, fmt.Errorf("samsa: message of unknown kind %d: %w", f.Kind, ErrUnsupported)
}

// change has one request of an operator handled.
func change[Q any](ctx context.Context, f transport.Frame, decode func([]byte) (Q, error), handle func(context.Context, Q) partition.ChangeResponse) (transport.Frame, error) {
	return reply(ctx, f, decode, handle, (*partition.ChangeResponse).Encode)
}

// reply is answer where no records go with the response.
func reply[Q, R any](ctx context.Context, f transport.Frame, decode func([]byte) (Q, error), handle func(context.Context, Q) R, encode func(*R, *wire.Writer)) (transport.Frame, error) {
	return answer(f, decode, func(req Q) (R, [][]byte) { return handle(ctx, req), nil }, encode)
}

// answer decodes a request, has it handled, and encodes the response.
func answer[Q, R any](f transport.Frame, decode func([]byte) (Q, error), handle func(Q) (R, [][]byte), encode func(*R, *wire.Writer)) (transport.Frame, error) {
	req, err := decode(f.Head)
	if err != nil {
		return transport.Frame{}, err
	}
	var m struct { // in one piece, since encode is not known here
		resp R
		w    wire.Writer
	}
	var data [][]byte
	m.resp, data = handle(req)
	encode(&m.resp, &m.w)
	return transport.Frame{Kind: f.Kind, Head: m.w.Bytes(), Data: data}, nil
}

// nodePeers is how package node reaches other brokers.
type nodePeers struct{ b *Broker }

func (p nodePeers) Call(ctx context.Context, addr string, m node.Message) (node.Message, error) {
	f, err := p.b.call(ctx, addr, transport.Frame{Kind: transport.Kind(m.Kind), Head: m.Head, Data: m.Data})
	if errors.Is(err, transport.ErrRefused) {
		err = fmt.Errorf("%w: %w", node.ErrUnreachable, err)
	}
	return node.Message{Kind: m.Kind, Head: f.Head, Data: f.Data}, err
}

// quorumPeers is how the voters reach one another.
type quorumPeers struct{ b *Broker }

func (p quorumPeers) Call(ctx context.Context, addr string, msg []byte) ([]byte, error) {
	f, err := p.b.call(ctx, addr, transport.Frame{Kind: transport.Kind(node.KindQuorum), Head: msg})
	return f.Head, err
}

func (b *Broker) call(ctx context.Context, addr string, f transport.Frame) (transport.Frame, error) {
	if b.link == nil {
		return transport.Frame{}, fmt.Errorf("%w: this broker has no transport", transport.ErrRefused)
	}
	return b.link.Call(ctx, transport.Addr(addr), f)
}
