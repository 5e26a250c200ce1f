package samsa

import (
	"errors"

	"github.com/samsalog/samsa/group/consume"
	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/partition/produce"
)

// The errors that an application may meet, and what to do about each. Test with
// [errors.Is]. Transient faults, such as a change of leader, are retried and not reported.
var (
	// ErrOutcomeUnknown: the record was sent and no final answer came: it may be in
	// the log, or may yet come to be. Send it again if a repetition does no harm, or
	// look for it. Every other error of a send says that the record is not in the log.
	// When ctx has ended it matches ctx.Err() too.
	ErrOutcomeUnknown error = produce.ErrOutcomeUnknown

	// ErrTimeout: the delivery timeout passed. With ErrOutcomeUnknown beside it the
	// record may be in the log; without, it is not: send it again when it is
	// worth another try.
	ErrTimeout error = produce.ErrTimeout

	// ErrTooLarge: the record, not compressed, does not fit into a batch of its topic,
	// or into the producer's buffer. Split it, or raise TopicConfig.MaxBatchBytes.
	ErrTooLarge error = produce.ErrTooLarge

	// ErrTopicExists: there is a topic of that name with another configuration.
	ErrTopicExists error = partition.TopicExists

	// ErrInvalidTopic: a topic's name or configuration is not possible; the text says
	// what is wrong.
	ErrInvalidTopic error = partition.InvalidTopic

	// ErrUnknownTopic: no such topic. Create it first.
	ErrUnknownTopic error = partition.UnknownTopic

	// ErrUnknownPartition: the topic has fewer partitions.
	ErrUnknownPartition error = partition.UnknownPartition

	// ErrUnknownGroup: no such group: it has no members and nothing committed.
	ErrUnknownGroup error = partition.UnknownGroup

	// ErrNotAssigned: the partition is not this consumer's, or not any more, or the
	// record to be committed was not delivered since it became so. Somebody else goes on
	// from what is committed; drop what is in hand.
	ErrNotAssigned error = consume.ErrNotAssigned

	// ErrNotEnoughReplicas: fewer replicas are in sync than MinISR, for the whole of
	// the delivery timeout; or, of a change of a topic or partition, for what was asked.
	// Bring brokers back.
	ErrNotEnoughReplicas error = partition.NotEnoughReplicas

	// ErrInvalidReplicas: a partition cannot be kept by those brokers, or there are too
	// few; the text says why.
	ErrInvalidReplicas error = partition.InvalidReplicas

	// ErrInvalidVoters: the voters cannot be changed like that; the text says why.
	ErrInvalidVoters error = partition.InvalidVoters

	// ErrIneligible: the broker cannot lead that partition now; the text says why. Wait
	// until it is in sync, or choose another.
	ErrIneligible error = partition.IneligibleReplica

	// ErrOutOfRange: the offset has been removed, or was never written.
	ErrOutOfRange error = partition.OutOfRange

	// ErrInvalidTimestamp: the record's time lies more than an hour ahead of the
	// broker's clock. Retention goes by it: set it right, or leave it to be now.
	ErrInvalidTimestamp error = partition.InvalidTimestamp

	// ErrMissingKey: the topic keeps the newest record of each key, and the record has
	// none. Give it one; an empty key is a key.
	ErrMissingKey error = partition.MissingKey

	// ErrUnsupported: this release cannot do that; the text names it.
	ErrUnsupported error = partition.Unsupported

	// ErrCorrupt: bytes on a disk, or from a peer, do not pass their checks. A
	// *log.CorruptError in the chain names the file and the place.
	ErrCorrupt = log.ErrCorrupt

	// ErrLocked: another broker has the directory open, in this process or another; a
	// *log.LockedError in the chain says which process. Close that broker, even if it
	// has stopped by itself, or wait for the end of its process; or give each broker a
	// directory of its own. Leave the file "lock" alone: without it two brokers can
	// spoil one directory.
	ErrLocked = log.ErrLocked

	// ErrClosed: the broker, client, producer or consumer has been closed.
	ErrClosed = errors.New("samsa: closed")

	// ErrInUse: another loop over the consumer's records is running.
	ErrInUse = errors.New("samsa: consumer is in use by another loop")
)
