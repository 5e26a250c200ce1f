package samsatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/samsalog/samsa"
	"github.com/samsalog/samsa/samsatest"
	"github.com/stretchr/testify/require"
)

// What is opened in a cluster that is closed would be closed by nobody.
func TestNothingIsOpenedInAClosedCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := samsatest.New(ctx, samsatest.Config{Brokers: 1})
	require.NoError(t, err)
	require.ErrorContains(t, c.Kill(2), "no broker 2")
	require.ErrorContains(t, c.Restart(ctx, 1), "broker 1 is up")
	dialled, err := c.Dial(ctx)
	require.NoError(t, err)
	require.NoError(t, c.Kill(1))
	require.ErrorContains(t, c.Kill(1), "down already")
	require.NoError(t, c.Close())
	require.ErrorIs(t, c.Restart(ctx, 1), samsa.ErrClosed)
	require.Nil(t, c.Broker(1))
	require.ErrorIs(t, dialled.CreateTopic(ctx, samsa.TopicConfig{Name: "t"}), samsa.ErrClosed)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = c.Dial(short)
	require.Error(t, err)
	require.NoError(t, c.Close(), "again")
}
