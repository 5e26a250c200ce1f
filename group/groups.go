package group

import (
	"maps"
	"slices"
)

// What concerns all coordinators of a [Service] at once. Its owner calls these.

// begin opens a term: members get their full time, and what the topics are may be
// news to groups.
func (s *Service) begin(t *term) {
	s.term = t
	s.each(t, func(*Coordinator) Input { return Loaded{} })
	s.each(t, func(c *Coordinator) Input { return Changed{Topics: s.look(c.Names(nil))} })
}

// each steps all groups, in rising order.
func (s *Service) each(t *term, in func(*Coordinator) Input) {
	for _, name := range slices.Sorted(maps.Keys(t.groups)) {
		c := t.groups[name]
		s.step(t, name, c, in(c))
	}
}

// forget tells the groups that the caller with a token waits no more.
func (s *Service) forget(token uint64) {
	if s.waiting[token] == nil {
		return
	}
	delete(s.waiting, token)
	if t := s.term; t != nil {
		s.each(t, func(*Coordinator) Input { return Forget{Token: token} })
	}
}

// look asks for the topics of those names that there are.
func (s *Service) look(names []string) []Topic {
	topics := make([]Topic, 0, len(names))
	for _, name := range names {
		if id, n, ok := s.topics.Topic(name); ok {
			topics = append(topics, Topic{Name: name, ID: id, Partitions: n})
		}
	}
	return topics
}

// group returns a group's coordinator, or nil; made if asked for.
func (t *term) group(cfg Config, name string, make bool) *Coordinator {
	c := t.groups[name]
	if c == nil && make {
		c = NewCoordinator(name, cfg)
		t.groups[name] = c
	}
	return c
}
