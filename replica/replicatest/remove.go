package replicatest

import (
	"errors"
	"path/filepath"

	"github.com/samsalog/samsa/log"
	"github.com/samsalog/samsa/partition"
	"github.com/samsalog/samsa/replica"
	"github.com/samsalog/samsa/replica/node"
)

// noteGone remembers those of the partitions that this process has a copy of and shall
// have none.
func (p *process) noteGone(ids []partition.ID) {
	for _, id := range ids {
		_, mine := replica.Assign(p.table, id, p.id, p.epoch)
		if !mine && (p.copy(id) != nil || p.found[id] != nil) {
			p.gone[id] = true
		} else {
			delete(p.gone, id)
		}
	}
}

// remove ends the copy of a partition, and removes its files.
func (p *process) remove(id partition.ID) {
	c, f := p.copy(id), p.found[id]
	delete(p.found, id)
	delete(p.gone, id)
	var dir string
	var l *log.Log
	if f != nil {
		dir, l = f.dir, f.log
	}
	if c != nil {
		p.quit(c)
		dir, l = c.dir, c.log
	}
	if f != nil && f.missing {
		delete(p.dirs, filepath.Base(dir))
		delete(p.b.mirrors, id)
	}
	if dir == "" || f != nil && f.missing {
		return
	}
	if l != nil {
		if err := l.Close(); err != nil && p.down(err) {
			p.trouble(err)
			return
		} else if err != nil && !errors.Is(err, log.ErrFailed) {
			p.w.tell("broker %d: close of a removed copy: %v", p.id, err)
		}
	}
	p.w.watch.removes(p, id)
	if err := node.RemoveDir(p.fs, dir); err != nil {
		p.trouble(err)
		return
	}
	for name, owner := range p.dirs {
		if owner == id {
			delete(p.dirs, name)
		}
	}
	delete(p.b.mirrors, id)
	p.w.note("removed", p.id, int64(id.Partition), int64(p.table.Offset()))
	p.w.watch.counts.Removed++
}
