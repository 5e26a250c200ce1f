package log

// The producers of a log lie in one slice, linked in the order in which they were
// last used, so that the one silent the longest is at hand when there is no room.
// t.mu is held by whoever calls what is below.

// insert adds a producer as the one used last, and returns where it is.
func (t *producers) insert(p producer) int32 {
	if len(t.all) >= maxProducers {
		t.evict()
	}
	i := int32(len(t.all))
	t.all = append(t.all, p)
	t.at[p.id] = i
	t.link(i)
	return i
}

// evict forgets the producer silent the longest. One with a transaction under way
// is passed over: those are bounded by whoever coordinates them.
func (t *producers) evict() {
	for i := t.oldest; i >= 0; i = t.all[i].newer {
		if t.all[i].transaction < 0 {
			t.remove(i)
			t.incomplete = true
			return
		}
	}
}

// use makes a producer the one used last.
func (t *producers) use(i int32) {
	if t.latest != i {
		t.unlink(i)
		t.link(i)
	}
}

// remove forgets the producer at i. The last one takes its place.
func (t *producers) remove(i int32) {
	t.unlink(i)
	delete(t.at, t.all[i].id)
	last := int32(len(t.all) - 1)
	if i != last {
		p := t.all[last]
		t.all[i] = p
		t.at[p.id] = i
		t.joinOlder(p.older, i)
		t.joinNewer(p.newer, i)
	}
	t.all = t.all[:last]
}

func (t *producers) link(i int32) {
	t.all[i].older, t.all[i].newer = t.latest, -1
	t.joinOlder(t.latest, i)
	t.latest = i
}

func (t *producers) unlink(i int32) {
	p := &t.all[i]
	t.joinOlder(p.older, p.newer)
	t.joinNewer(p.newer, p.older)
}

// joinOlder makes i come after older, which is -1 if i is the first.
func (t *producers) joinOlder(older, i int32) {
	if older < 0 {
		t.oldest = i
		return
	}
	t.all[older].newer = i
}

// joinNewer makes i come before newer, which is -1 if i is the last.
func (t *producers) joinNewer(newer, i int32) {
	if newer < 0 {
		t.latest = i
		return
	}
	t.all[newer].older = i
}
