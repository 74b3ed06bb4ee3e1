package webhook

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"usher/internal/memorystore"
	"usher/meeting"
)

// askedStore counts how often it is asked which meetings are over.
type askedStore struct {
	*memorystore.Memory
	asked atomic.Int64
}

func (s *askedStore) Over(ctx context.Context, meetings []string) (map[string]bool, error) {
	s.asked.Add(1)
	return s.Memory.Over(ctx, meetings)
}

// TestTidyAsksOnce: after a jump of sequence numbers every open meeting has a gap
// for every endpoint. Those that are over are forgotten, and the store is asked
// once a minute, not once for each.
func TestTidyAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &askedStore{Memory: new(memorystore.Memory)}
		const meetings = 300
		retries := map[string]meeting.Retry{}
		for i := range meetings {
			retries[fmt.Sprintf("mtg_%03d", i)] = meeting.Retry{Gap: true}
		}
		if err := st.Ack(t.Context(), meeting.Acks{Endpoint: "whk_crm", Retries: retries}); err != nil {
			t.Fatal(err)
		}
		newSiteOf(t, st.Memory, st, Endpoint{Secrets: []Secret{NewSecret()}},
			func(*http.Request, []byte) *http.Response { return status(200) })
		time.Sleep(tidyInterval + time.Second)
		synctest.Wait()
		if got := st.asked.Load(); got != 1 {
			t.Errorf("asked %d times within a minute, want once", got)
		}
		_, left, _, err := st.LoadQueue(t.Context(), "whk_crm")
		if err != nil || len(left) != 0 {
			t.Errorf("%d gaps left of %d meetings that are over (%v), want none", len(left), meetings, err)
		}
	})
}
