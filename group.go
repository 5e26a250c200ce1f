package samsa

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/samsalog/samsa/group"
	"github.com/samsalog/samsa/offsets"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica/control"
)

// A Group is a handle of a consumer group.
type Group struct {
	c    *cluster
	name string
}

// A GroupInfo is what an operator asks of a group.
type GroupInfo struct {
	Name       string
	Status     string // empty, assigning, reconciling or stable
	Members    []MemberInfo
	Partitions []GroupPartition // those that somebody holds or has committed in
}

// A MemberInfo is one member of a group.
type MemberInfo struct {
	ID       string
	Client   string
	Assigned []TopicPartition // what it may hold now
	Target   []TopicPartition // what it shall hold
}

// A TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition PartitionID
}

// A GroupPartition says how far a group has got in one partition.
type GroupPartition struct {
	TopicPartition
	Committed Offset // the next record to read; -1: nothing committed
	End       Offset // the high watermark; -1: not known now
	Lag       Offset // records committed by producers and not yet by the group
}

// Groups returns the names of all groups that have members or something committed, in
// rising order. It waits for the coordinators of all of them.
func (c *Client) Groups(ctx context.Context) ([]string, error) {
	var names []string
	for _, p := range c.Topic(control.OffsetsTopic).Partitions() { // none before the first group
		var here group.ListResponse
		err := p.askLeader(ctx, func(id partition.ID, leader BrokerID) (_ partition.Code, err error) {
			req := group.ListRequest{Partition: id.Partition}
			here, err = decoded(group.DecodeListResponse)(c.cluster.call(ctx, leader, encoded(kindListGroups, req.Encode), c.cluster.isLeader(id, leader)))
			return here.Code, err
		})
		if err != nil {
			return nil, fmt.Errorf("samsa: groups: %w", err)
		}
		names = append(names, here.Groups...)
	}
	return slices.Sorted(slices.Values(names)), nil
}

// Name is the group's name.
func (g *Group) Name() string { return g.name }

// Info returns the group's members and how far it has got. The error matches
// [ErrUnknownGroup] if there is no such group.
func (g *Group) Info(ctx context.Context) (GroupInfo, error) {
	if len(g.name) == 0 || len(g.name) > group.MaxName {
		return GroupInfo{}, fmt.Errorf("samsa: group %.32q of %d bytes: %w", g.name, len(g.name), ErrUnknownGroup)
	}
	for {
		_, changed := g.c.view.Changed()
		resp, err := g.c.describe(ctx, g.name)
		switch {
		case err == nil && resp.Code == partition.OK:
			return g.info(ctx, resp.Info)
		case err == nil && !resp.Code.Retriable():
			return GroupInfo{}, fmt.Errorf("samsa: group %q: %w", g.name, resp.Code)
		}
		if err := g.c.pause(ctx, changed); err != nil {
			return GroupInfo{}, fmt.Errorf("samsa: group %q: %w", g.name, err)
		}
	}
}

func (g *Group) info(ctx context.Context, in group.Info) (GroupInfo, error) {
	out := GroupInfo{Name: in.Group, Status: in.Status.String()}
	commits := make(map[partition.ID]offsets.Commit)
	var ids []partition.ID
	seen := make(map[partition.ID]bool)
	add := func(id partition.ID) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for _, c := range in.Commits {
		commits[c.ID] = c.Commit
		add(c.ID)
	}
	for _, m := range in.Members {
		out.Members = append(out.Members, MemberInfo{ID: m.ID, Client: m.Client, Assigned: g.named(m.Assigned), Target: g.named(m.Target)})
		for _, id := range m.Target {
			add(id)
		}
	}
	for i, tp := range g.named(ids) {
		p, err := (&Topic{c: g.c, name: tp.Topic}).Partition(tp.Partition).Info(ctx)
		if errors.Is(err, ErrUnknownTopic) {
			continue
		}
		if err != nil {
			return out, err
		}
		gp := GroupPartition{TopicPartition: tp, Committed: -1, End: p.HighWatermark}
		behind := max(p.Start, 0)
		if c, ok := commits[ids[i]]; ok {
			gp.Committed, behind = c.Offset, c.Offset
		}
		gp.Lag = max(gp.End-behind, 0)
		out.Partitions = append(out.Partitions, gp)
	}
	return out, nil
}

func (g *Group) named(ids []partition.ID) []TopicPartition {
	all := make([]TopicPartition, len(ids))
	for i, id := range ids {
		t, _ := g.c.view.TopicByID(id.Topic)
		all[i] = TopicPartition{Topic: t.Config.Name, Partition: id.Partition}
	}
	return all
}
