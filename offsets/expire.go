package offsets

import "time"

// Retention is how long a commit is kept once nobody reads for its group.
const Retention = 7 * 24 * time.Hour

// Expired returns, in order, the keys of the commits of a group without members
// that are due to go at now, and when the next one of the others is due; zero:
// there is none. A commit goes when it, and the group's last change at
// since, are both older than retention. A group with members keeps them all.
func (t *Table) Expired(now, since time.Time, retention time.Duration) (due []Key, next time.Time) {
	for _, k := range t.Keys() {
		at := time.UnixMilli(t.commits[k].Timestamp)
		if at.Before(since) {
			at = since
		}
		if at = at.Add(retention); !now.Before(at) {
			due = append(due, k)
		} else if next.IsZero() || at.Before(next) {
			next = at
		}
	}
	return due, next
}
