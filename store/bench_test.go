package store

import (
	"fmt"
	"testing"

	"usher/meeting"
)

// BenchmarkCommit measures what a hand raised or lowered in a meeting of ten
// costs, with one webhook endpoint: Go, script and the way there and back.
func BenchmarkCommit(b *testing.B) {
	srv := startServer(b)
	b.Run("one meeting", func(b *testing.B) {
		s := busy(b, srv.open())
		for b.Loop() {
			s.hand()
		}
	})
	b.Run("many meetings", func(b *testing.B) {
		r := srv.open()
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			s := busy(b, r)
			for pb.Next() {
				s.hand()
			}
		})
	})
}

type busyScene struct {
	*scene
	r      *Redis
	raised bool
}

// busy returns a meeting of ten.
func busy(b *testing.B, r *Redis) *busyScene {
	s, c := newScene(b, meeting.Created{Room: fmt.Sprint("room", seeds.Add(1))})
	s.routes = []string{"crm"}
	commit(b, r, c)
	for i := range 10 {
		s.play(r, human(fmt.Sprint("n", i), fmt.Sprint("u", i)))
	}
	return &busyScene{scene: s, r: r}
}

func (s *busyScene) hand() {
	s.raised = !s.raised
	if s.raised {
		s.play(s.r, raised("n3", "u3"))
	} else {
		s.play(s.r, human("n3", "u3"))
	}
}
