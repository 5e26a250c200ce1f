package partition

import "slices"

// A reassignment moves a partition to other replicas and loses nothing on the way.
// First all are replicas, those before and those after it; those that are new catch
// up and join the ISR like any other. In the change in which the last of them is in
// the ISR, and enough of the ISR stays, those that are not wanted any more go.
// What a replica that has gone holds is nobody's business then, so that the epoch
// rises with it: no fetch of its own counts any more.

// reassign returns s with a reassignment to target under way. One that was under
// way before is replaced: its origin stays, and those that it was to add and target
// does not name go like the others.
func (s State) reassign(target []BrokerID) State {
	if s.Origin == nil {
		s.Origin = s.Replicas
	}
	s.Target = target
	s.Replicas = slices.Concat(target, slices.DeleteFunc(slices.Clone(s.Replicas), func(id BrokerID) bool {
		return slices.Contains(target, id)
	}))
	return s
}

// complete ends the reassignment under way if with that ISR all that it adds are in
// sync, and enough of those that stay.
func (s State) complete(isr []BrokerID, minISR int) State {
	if s.Target == nil {
		return s
	}
	done := s
	done.Replicas, done.Origin, done.Target = s.Target, nil, nil
	stays := intersect(isr, s.Target)
	if len(stays) < done.effective(minISR) || len(minus(s.Adding(), stays)) > 0 {
		return s
	}
	return done
}

// CanCancel reports whether the reassignment under way could be taken back at once:
// enough of the ISR were replicas before it. It does not matter whether those that
// it adds are.
func (s State) CanCancel(minISR int) bool {
	before := State{Replicas: s.Origin}
	return len(intersect(s.ISR, s.Origin)) >= before.effective(minISR)
}
