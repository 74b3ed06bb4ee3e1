package localsite

import (
	"context"
	"sync"
	"time"

	"usher/internal/sim"
	"usher/meeting"
)

// Speaking returns how long [SpeakAll] has person i speak, who is one of a few.
func Speaking(i int) time.Duration { return time.Duration(i+3) * time.Second / 2 }

// SpeakAll has people speak through a video bridge in a meeting with that Jitsi id,
// all at once and each for their time of [Speaking]. It blocks until all are done, or
// ctx ends. What they say is silence to a decoder, and speech by the audio level.
func SpeakAll(ctx context.Context, jvb *sim.JVB, jitsiID string, people []meeting.ParticipantInfo) {
	const perSecond = 50 // packets of 20 ms
	var speaking sync.WaitGroup
	for i, p := range people {
		length := int(Speaking(i).Seconds() * perSecond)
		speaking.Go(func() {
			jvb.Play(ctx, jitsiID, sim.Microphone{Endpoint: p.EndpointID, SSRC: uint32(i + 1), Sound: func(n int) (sim.Packet, bool) {
				return sim.Packet{Opus: []byte{0xf8, 0xff, 0xfe}, Level: 20}, n < length
			}})
		})
	}
	speaking.Wait()
}
