package partition

// A Code is an error as it travels between brokers and clients. The list is
// closed and its numbers are kept for ever. A Code is comparable, so that
// errors.Is(err, partition.NotLeader) works on both sides of a link. Zero, OK, is no error:
// [Code.Err] turns it into nil.
type Code int16

// The codes. Behind each: what its receiver does.
const (
	OK                   Code = 0
	Internal             Code = 1  // the other side met a fault of its own: retry elsewhere or later
	Malformed            Code = 2  // the request does not parse or contradicts itself: a bug, do not retry
	Unsupported          Code = 3  // this release cannot do that
	UnknownTopic         Code = 10 // retry until the metadata has it, or the deadline
	UnknownPartition     Code = 11 // likewise
	TopicExists          Code = 12 // definite
	InvalidTopic         Code = 13 // definite: a bad name or configuration
	TopicDeleted         Code = 14 // definite: there will never be a topic of that id again; it matches UnknownTopic
	NotLeader            Code = 20 // refresh the metadata, ask the leader
	FencedEpoch          Code = 21 // the request's leader epoch is older than the leader's
	UnknownEpoch         Code = 22 // the request's leader epoch is newer than the answerer's: it is behind
	StaleBroker          Code = 23 // the sender's broker epoch is not its newest
	OutOfRange           Code = 24 // the offset is below the log start or above its end
	NotAvailable         Code = 25 // a new leader does not know its high watermark yet: retry
	SnapshotRequired     Code = 26 // tombstones that the follower has not seen are gone: it begins anew
	NotEnoughReplicas    Code = 30 // fewer in the ISR than MinISR; nothing was written: retry
	NotEnoughAfterAppend Code = 31 // it became so after the write: the outcome is unknown
	CorruptBatch         Code = 32 // the batch does not pass its checks; nothing was written
	BatchTooLarge        Code = 33 // above the topic's MaxBatchBytes, or inflates to too much; nothing was written
	TimedOut             Code = 34 // not committed within the request's timeout: the outcome is unknown
	Resigned             Code = 35 // the leader lost its place while the write was under way: the outcome is unknown
	StorageFailed        Code = 36 // the broker's disk failed: the outcome is unknown
	DiskFull             Code = 37 // nothing was written
	InvalidTimestamp     Code = 38 // a record is of more than an hour ahead; nothing was written
	MissingKey           Code = 39 // a record without a key, in a topic that is compacted; nothing was written
	NotController        Code = 40 // ask the controller
	StalePartitionEpoch  Code = 41 // the proposal is based on an older state
	IneligibleReplica    Code = 42 // a proposed member is fenced, unknown or of another broker epoch: nothing was applied
	NotAttempted         Code = 43 // nothing was applied
	NewLeaderElected     Code = 44 // applied, and the leader epoch has ended with it
	UnknownBroker        Code = 45 // not registered: register
	DuplicateBroker      Code = 46 // the id is held by a live broker of another directory
	InvalidReplicas      Code = 47 // the brokers named, or there, cannot keep the replicas
	InvalidVoters        Code = 48 // the voters cannot be changed like that
	NotCoordinator       Code = 50 // find the group's coordinator again
	CoordinatorLoading   Code = 51 // retry soon
	UnknownMember        Code = 52 // drop all partitions, join again with epoch 0
	FencedMember         Code = 53 // likewise
	StaleMember          Code = 54 // the commit's member epoch does not cover that partition
	UnknownGroup         Code = 55 // definite
	GroupNotEmpty        Code = 56 // definite
	FencedInstance       Code = 57 // another member holds the instance id: stop
	UnreleasedInstance   Code = 58 // likewise: retry after its session has ended
)

var codeText = map[Code]string{
	OK: "ok", Internal: "internal error", Malformed: "malformed request", Unsupported: "unsupported",
	UnknownTopic: "unknown topic", UnknownPartition: "unknown partition", TopicExists: "topic exists", InvalidTopic: "invalid topic", TopicDeleted: "topic was deleted",
	NotLeader: "not the leader", FencedEpoch: "leader epoch is fenced", UnknownEpoch: "leader epoch is not known yet",
	StaleBroker: "stale broker epoch", OutOfRange: "offset out of range", NotAvailable: "offset not available yet", SnapshotRequired: "tombstones are gone: begin anew",
	NotEnoughReplicas: "not enough in-sync replicas", NotEnoughAfterAppend: "not enough in-sync replicas after append",
	CorruptBatch: "corrupt batch", BatchTooLarge: "batch too large", TimedOut: "timed out", Resigned: "leader resigned",
	StorageFailed: "storage failed", DiskFull: "disk full", InvalidTimestamp: "timestamp too far ahead", MissingKey: "record without a key in a compacted topic", NotController: "not the controller",
	StalePartitionEpoch: "stale partition epoch", IneligibleReplica: "ineligible replica", NotAttempted: "not attempted",
	NewLeaderElected: "new leader elected", UnknownBroker: "unknown broker", DuplicateBroker: "duplicate broker", InvalidReplicas: "impossible replicas", InvalidVoters: "impossible change of the voters",
	NotCoordinator: "not the coordinator", CoordinatorLoading: "coordinator is loading", UnknownMember: "unknown member",
	FencedMember: "fenced member epoch", StaleMember: "stale member epoch", UnknownGroup: "unknown group",
	GroupNotEmpty: "group is not empty", FencedInstance: "fenced instance id", UnreleasedInstance: "unreleased instance id",
}
