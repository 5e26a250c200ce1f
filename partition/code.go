package partition

import "strconv"

// Error makes a Code an error. Its text says what is wrong, not what to do: that
// stands behind each code.
func (c Code) Error() string {
	if text, ok := codeText[c]; ok {
		return "partition: " + text
	}
	return "partition: unknown error code " + strconv.Itoa(int(c))
}

// Is makes what is said of a topic that was deleted true of one that is not there.
func (c Code) Is(target error) bool { return c == TopicDeleted && target == UnknownTopic }

// Err returns nil for OK and c for anything else.
func (c Code) Err() error {
	if c == OK {
		return nil
	}
	return c
}

// Retriable reports whether the same intent may succeed later: unchanged, or
// with newer metadata where the code says that what the sender knew is old.
func (c Code) Retriable() bool {
	switch c {
	case Internal, UnknownTopic, UnknownPartition, NotLeader, FencedEpoch, UnknownEpoch, NotAvailable,
		NotEnoughReplicas, NotEnoughAfterAppend, TimedOut, Resigned, StorageFailed, DiskFull,
		NotController, StalePartitionEpoch, IneligibleReplica, NotAttempted, DuplicateBroker, InvalidReplicas,
		NotCoordinator, CoordinatorLoading, UnreleasedInstance:
		return true
	default:
		return false
	}
}

// OutcomeUnknown reports whether a write answered with c may yet take effect, or
// have taken it. A code of a newer release counts as one: it may mean anything.
func (c Code) OutcomeUnknown() bool {
	switch c {
	case NotEnoughAfterAppend, TimedOut, Resigned, StorageFailed, Internal:
		return true
	default:
		_, known := codeText[c]
		return !known
	}
}

// An Error is a [Code] with more to say than its name. It matches its Code.
type Error struct {
	Code Code
	Text string // what is wrong, in the words of whoever found it; empty: the code's own
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.Error()
	}
	return e.Code.Error() + ": " + e.Text
}

// Is makes errors.Is(err, e.Code) true.
func (e *Error) Is(target error) bool { return target == e.Code }
