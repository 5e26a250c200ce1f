package partition

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCodeIsAnError(t *testing.T) {
	require.NoError(t, OK.Err())
	err := fmt.Errorf("read rides/2: %w", NotLeader.Err())
	require.ErrorIs(t, err, NotLeader)
	require.NotErrorIs(t, err, NotController)
	require.EqualError(t, err, "read rides/2: partition: not the leader")
	require.EqualError(t, Code(999), "partition: unknown error code 999")

	more := fmt.Errorf("create: %w", &Error{Code: InvalidTopic, Text: "no name"})
	require.ErrorIs(t, more, InvalidTopic)
	require.NotErrorIs(t, more, TopicExists)
	require.ErrorIs(t, TopicDeleted, UnknownTopic)
	require.NotErrorIs(t, UnknownTopic, TopicDeleted)
	require.EqualError(t, more, "create: partition: invalid topic: no name")
	require.EqualError(t, &Error{Code: InvalidTopic}, "partition: invalid topic")
	e, ok := errors.AsType[*Error](more)
	require.True(t, ok)
	require.Equal(t, InvalidTopic, e.Code)
}

// Who treats a code of an unknown outcome as definite loses or repeats records.
func TestOutcomeUnknown(t *testing.T) {
	unknown := map[Code]bool{
		NotEnoughAfterAppend: true, TimedOut: true, Resigned: true, StorageFailed: true, Internal: true,
		999: true, -1: true,
	}
	for c := range codeText {
		require.Equal(t, unknown[c], c.OutcomeUnknown(), "%v", c)
	}
	for c := range unknown {
		require.True(t, c.OutcomeUnknown(), "%v", c)
	}
}

func TestRetriable(t *testing.T) {
	definite := []Code{
		OK, Malformed, Unsupported, TopicExists, InvalidTopic, TopicDeleted, StaleBroker, OutOfRange, CorruptBatch, BatchTooLarge, InvalidTimestamp, MissingKey, SnapshotRequired,
		NewLeaderElected, UnknownBroker, InvalidVoters, UnknownMember, FencedMember, StaleMember, UnknownGroup, GroupNotEmpty, FencedInstance,
	}
	retriable := make(map[Code]bool)
	for c := range codeText {
		retriable[c] = true
	}
	for _, c := range definite {
		delete(retriable, c)
	}
	for c := range codeText {
		require.Equal(t, retriable[c], c.Retriable(), "%v", c)
	}
	require.False(t, Code(999).Retriable())
}
