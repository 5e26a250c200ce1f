package replicatest

import "errors"

// Shrink looks for fewer faults with which a failed seed breaks the same invariant: it
// plays the seed again without some of them (delta debugging). play is [Run], with raft's
// dice thrown from the seed too; it is called tries times at most. What is returned failed
// in the same way as r, and its Faults that are not Spared are those that it takes.
func Shrink(opt Options, r Result, tries int, play func(Options) Result) Result {
	rule := ruleOf(r.Err)
	needed := struckBy(r)
	for step := max(len(needed)/2, 1); len(needed) > 0 && tries > 0; {
		shorter := false
		for at := 0; at < len(needed) && tries > 0; {
			without := opt
			without.Spare = sparing(len(r.Faults), needed, at, min(at+step, len(needed)))
			tries--
			if got := play(without); got.Err != nil && ruleOf(got.Err) == rule {
				r, shorter = got, true
				needed = struckBy(got)
				continue
			}
			at += step
		}
		if step == 1 && !shorter {
			break
		}
		step = max(step/2, 1)
	}
	return r
}

// struckBy lists the numbers of the faults that have struck.
func struckBy(r Result) (list []int) {
	for _, f := range r.Faults {
		if !f.Spared {
			list = append(list, f.N)
		}
	}
	return list
}

// sparing leaves out all faults up to a number but those that are needed, and of these
// the ones from one index to another. What would come after the number is left out too.
func sparing(last int, needed []int, from, to int) map[int]bool {
	spare := make(map[int]bool)
	for n := 1; n <= last+100; n++ {
		spare[n] = true
	}
	for i, n := range needed {
		if i < from || i >= to {
			delete(spare, n)
		}
	}
	return spare
}

func ruleOf(err error) string {
	if v, ok := errors.AsType[*Violation](err); ok {
		return v.Rule
	}
	return ""
}
