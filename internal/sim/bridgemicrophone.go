package sim

import (
	"context"
	"time"
)

// frameTime is the sound in a browser's packet.
const frameTime = 20 * time.Millisecond

// Microphone is how one person's sound gets to the bridge. Endpoint, SSRC and
// Sound are required.
type Microphone struct {
	Endpoint string // the nick in the MUC
	Source   int
	SSRC     uint32
	// Sound is the packet that begins n × 20 ms after the microphone was turned on;
	// ok is false after the last one.
	Sound func(n int) (p Packet, ok bool)
	// Skew is how much the sender's clock is slow: 50e-6 is 50 ppm.
	Skew float64
	// Delay is what a packet that was recorded at the given time takes to be handled
	// by the bridge. Packets do not overtake one another. Nil: nothing.
	Delay func(at time.Duration) time.Duration
	// Silent tells whether packet n is not sent: muted, or lost. Nil: all are.
	Silent func(n int) bool
}

// Play sends a microphone's sound through the bridge, in the time it takes. It
// blocks until the sound is over or ctx ends.
func (b *Bridge) Play(ctx context.Context, m Microphone) { m.play(ctx, b.forward) }

func (m Microphone) play(ctx context.Context, forward func(exported)) {
	begin := time.Now()
	const firstTimestamp = 623_706 // RTP begins anywhere
	var before []byte
	for n := 0; ; n++ {
		p, ok := m.Sound(n)
		if !ok {
			return
		}
		// A packet is ready when its last sample is recorded.
		at := time.Duration(float64(n+1) * float64(frameTime) * (1 + m.Skew))
		if m.Delay != nil {
			at += m.Delay(at)
		}
		if wait := at - time.Since(begin); wait > 0 && !pause(ctx, wait) {
			return
		}
		if m.Silent == nil || !m.Silent(n) {
			forward(exported{
				endpoint: m.Endpoint, source: m.Source, ssrc: m.SSRC, sequence: 1000 + n,
				timestamp: firstTimestamp + int64(n)*960, opus: p.Opus, before: before, level: p.Level,
			})
		}
		before = p.Opus
	}
}
