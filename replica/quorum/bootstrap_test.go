package quorum

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/samsalog/samsa/partition"
	"github.com/stretchr/testify/require"
)

func directoryOf(n byte) partition.UUID { return partition.UUID{0: 0xD, 15: n} }

func votersOf(n int) []Voter {
	var voters []Voter
	for i := 1; i <= n; i++ {
		voters = append(voters, Voter{ID: partition.BrokerID(i), Addr: fmt.Sprintf("addr-%d", i)})
	}
	return voters
}

// fresh is the hello of a new voter of three; the last byte of its directory is d.
func fresh(id partition.BrokerID, d byte) hello {
	return hello{ID: id, Directory: directoryOf(d), Voters: []partition.BrokerID{1, 2, 3}}
}

// joined is the hello of a voter that has kept the cluster c of voters 1, 2 and 3,
// whose directories end with d.
func joined(id partition.BrokerID, c byte, d ...byte) hello {
	h := fresh(id, d[id-1])
	h.Cluster = partition.UUID{0: 0xC, 15: c}
	for i, d := range d {
		h.Members = append(h.Members, Member{ID: partition.BrokerID(i + 1), Directory: directoryOf(d), Addr: fmt.Sprintf("addr-%d", i+1)})
	}
	return h
}

type answer struct { // to the question of that round
	hello
	round int
}

type gone partition.BrokerID // could not be reached

// Each case starts from a new voter of three, whose directory ends with its id,
// and whose fresh cluster id is 1.
func TestFormer(t *testing.T) {
	const (
		waits2 = "voter 2 has not been heard of yet"
		waits3 = "voter 3 has not been heard of yet"
		waits1 = "voter 1 has not been heard of yet"
	)
	tests := []struct {
		name string
		self partition.BrokerID
		in   []any
		want step // of the last input
	}{{
		name: "begins by asking everybody",
		self: 1, want: step{Ask: true, Problem: waits2},
	}, {
		name: "waits for the last voter",
		self: 1, in: []any{fresh(2, 2)},
		want: step{Problem: waits3},
	}, {
		name: "asks once more when all are known",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3)},
		want: step{Ask: true},
	}, {
		name: "an answer that was given before the last came up founds nothing",
		self: 1, in: []any{answer{fresh(2, 2), 0}, fresh(3, 3), answer{fresh(2, 2), 0}, answer{fresh(3, 3), 1}},
	}, {
		name: "founds when all have answered that they are new",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 1}},
		want: step{Keep: true, Ask: true},
	}, {
		name: "does not found unless it has the lowest id",
		self: 2, in: []any{fresh(1, 1), fresh(3, 3), answer{fresh(1, 1), 1}, answer{fresh(3, 3), 1}},
	}, {
		name: "a voter that is lost is waited for again",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, gone(2), answer{fresh(3, 3), 1}},
		want: step{Problem: waits2},
	}, {
		name: "a voter that came back with another directory is asked again",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 0}, fresh(2, 8)},
		want: step{Ask: true},
	}, {
		name: "campaigns once a majority has joined",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 1}, joined(3, 1, 1, 2, 3)},
		want: step{Campaign: true},
	}, {
		name: "campaigns only once",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 1}, joined(3, 1, 1, 2, 3), joined(2, 1, 1, 2, 3)},
	}, {
		name: "does not campaign for a voter of another cluster",
		self: 1, in: []any{fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 1}, joined(3, 7, 1, 2, 3)},
	}, {
		name: "joins the cluster that lists it, and says so",
		self: 3, in: []any{joined(1, 1, 1, 2, 3)},
		want: step{Keep: true, Ask: true},
	}, {
		name: "joins at the word of any member",
		self: 1, in: []any{joined(2, 1, 1, 2, 3)},
		want: step{Keep: true, Ask: true},
	}, {
		name: "keeps the first cluster that it joined",
		self: 3, in: []any{joined(1, 1, 1, 2, 3), joined(2, 7, 1, 2, 3)},
	}, {
		name: "is a stranger to a cluster that knows it by another directory",
		self: 3, in: []any{joined(1, 1, 1, 2, 9)},
		want: step{Problem: "cluster 0c000000000000000000000000000001 was formed without this directory: it has no vote until an operator lets it in"},
	}, {
		name: "a stranger founds nothing",
		self: 1, in: []any{joined(3, 1, 9, 2, 3), fresh(2, 2), fresh(3, 3), answer{fresh(2, 2), 1}, answer{fresh(3, 3), 1}},
		want: step{Problem: "cluster 0c000000000000000000000000000001 was formed without this directory: it has no vote until an operator lets it in"},
	}, {
		name: "forms nothing with a voter that is configured otherwise",
		self: 1, in: []any{fresh(2, 2), hello{ID: 3, Directory: directoryOf(3), Voters: []partition.BrokerID{1, 3}}},
		want: step{Problem: "voter 3 is configured with other voters"},
	}, {
		name: "a broker that is no voter has no say",
		self: 2, in: []any{joinedOf4()},
		want: step{Problem: waits1},
	}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFormer(Member{ID: tt.self, Directory: directoryOf(byte(tt.self))}, votersOf(3), partition.UUID{0: 0xC, 15: 1}, formation{})
			got := f.begin()
			for _, in := range tt.in {
				switch in := in.(type) {
				case hello:
					got = f.heard(in, 0)
				case answer:
					got = f.heard(in.hello, in.round)
				case gone:
					got = f.lost(partition.BrokerID(in))
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func joinedOf4() hello {
	h := joined(3, 1, 1, 2, 3)
	h.ID = 4
	return h
}

func TestFormerAloneFoundsAtOnce(t *testing.T) {
	f := newFormer(Member{ID: 7, Directory: directoryOf(7)}, []Voter{{ID: 7, Addr: "a"}}, partition.UUID{1}, formation{})
	require.Equal(t, step{Keep: true, Ask: true, Campaign: true}, f.begin())
	require.Equal(t, []Member{{ID: 7, Directory: directoryOf(7), Addr: "a"}}, f.formed.Members)
}

// Voters crash and come back, with their disk or without, and messages are lost,
// repeated and late. Whatever happens, no voter of one directory ever keeps two
// clusters, and all who keep a cluster keep the same voters for it.
func TestFormersAgree(t *testing.T) {
	for seed := range uint64(500) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { formersAgree(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

type mail struct {
	to    int
	hello hello
	round int  // of the question or of the question it answers
	reply bool // it answers a question
}

func formersAgree(t *testing.T, rng *rand.Rand) {
	const n = 3
	voters := votersOf(n)
	formers := make([]*former, n)
	kept := make([]formation, n)
	lives := byte(n)
	agreed := make(map[partition.UUID]formation)
	var post []mail
	ids := byte(0)
	do := func(i int, s step) {
		f := formers[i]
		if s.Keep {
			require.Zero(t, kept[i].Cluster, "kept twice")
			kept[i] = f.formed
			if was, ok := agreed[f.formed.Cluster]; ok {
				require.Equal(t, was, f.formed)
			}
			agreed[f.formed.Cluster] = f.formed
			require.True(t, f.formed.holds(f.self.ID, f.self.Directory))
		}
		if s.Campaign {
			require.Equal(t, f.self.ID, f.ids[0])
		}
		if s.Ask {
			for to := range n {
				if to != i {
					post = append(post, mail{to: to, hello: f.greeting(), round: f.round})
				}
			}
		}
	}
	start := func(i int, wiped bool) {
		self := Member{ID: voters[i].ID, Directory: directoryOf(byte(i + 1))}
		if formers[i] != nil {
			self.Directory = formers[i].self.Directory
		}
		if wiped {
			lives++
			self.Directory, kept[i] = directoryOf(lives), formation{}
		}
		ids++
		formers[i] = newFormer(self, voters, partition.UUID{0: 0xC, 15: ids}, kept[i])
		do(i, formers[i].begin())
	}
	for i := range n {
		start(i, false)
	}
	for range 200 {
		if rng.IntN(20) == 0 {
			start(rng.IntN(n), rng.IntN(4) == 0)
		}
		if rng.IntN(4) == 0 { // the timer of one that is still forming
			if i := rng.IntN(n); !formers[i].isFormed() {
				do(i, step{Ask: true})
			}
		}
		if len(post) == 0 {
			continue
		}
		at := rng.IntN(len(post))
		m := post[at]
		if rng.IntN(8) != 0 { // or else it arrives once more, later
			post = append(post[:at], post[at+1:]...)
		}
		from := int(m.hello.ID) - 1
		switch {
		case rng.IntN(10) == 0:
			do(from, formers[from].lost(voters[m.to].ID))
		case m.reply:
			do(m.to, formers[m.to].heard(m.hello, m.round))
		default:
			do(m.to, formers[m.to].heard(m.hello, 0))
			post = append(post, mail{to: from, hello: formers[m.to].greeting(), round: m.round, reply: true})
		}
	}
}

func TestFormersAgreeSoonWhenNothingFails(t *testing.T) {
	voters := votersOf(5)
	var formers []*former
	asked := make([]bool, 5)
	for i, v := range voters {
		f := newFormer(Member{ID: v.ID, Directory: directoryOf(byte(i + 1))}, voters, partition.UUID{byte(i + 1)}, formation{})
		formers = append(formers, f)
		asked[i] = f.begin().Ask
	}
	campaigns := 0
	for range 4 {
		for i, f := range formers {
			if !asked[i] {
				continue
			}
			asked[i] = false
			round := f.round
			for j, g := range formers {
				if i == j {
					continue
				}
				for k, s := range map[int]step{j: g.heard(f.greeting(), 0)} {
					asked[k] = asked[k] || s.Ask
				}
				s := f.heard(g.greeting(), round)
				asked[i] = asked[i] || s.Ask
				if s.Campaign {
					campaigns++
				}
			}
		}
	}
	require.Equal(t, 1, campaigns)
	for _, f := range formers {
		require.Equal(t, formers[0].formed, f.formed)
		require.True(t, f.isFormed())
	}
}
