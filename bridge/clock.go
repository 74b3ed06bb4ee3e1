package bridge

const (
	// holdTime is how long the first packets of a stream are held: a bridge stamps
	// the first one when it handles it, up to 200 ms late under load, and within 2 s
	// some packet comes without delay.
	holdTime = 2 * second
	// driftWindow is the stretch whose most punctual packet counts, to see how the
	// sender's clock runs against ours.
	driftWindow = 10 * second
	// maxDrift is what is left as it is: less is in the noise, and 50 ms are what
	// the files promise.
	maxDrift = 20 * millisecond
	// urgentDrift is corrected without waiting for a pause of the speaker.
	urgentDrift = 40 * millisecond
	// maxEarly and maxLate bound the way from sender to us against the usual one:
	// nothing is that early, and a bridge's queue of 1,024 packets is not that long.
	// Beyond them the timestamps have begun anew.
	maxEarly = 500 * millisecond
	maxLate  = 30 * second
	// backlogTime is what a bridge may take to work off what has piled up in it. One
	// that had just been started sent its first conference's sound up to 16 s late, and
	// was on time 12 s later.
	backlogTime = 30 * second
)

// clock places the timestamps of one stream on the time line of a part: at the
// arrival of the most punctual packet. Whatever delays packets on their way adds
// to the lag, arrival minus timestamp, so the smallest one is nearest to the
// truth, and the same for everybody. The zero value has seen no packet.
type clock struct {
	begun   bool    // there was a packet
	running bool    // offset is set
	offset  samples // position = timestamp + offset
	begin   samples // arrival of the first packet of the window
	lowest  samples // smallest lag in the window
	before  samples // and in the one before
	drift   samples // what the offset is wrong by; 0 when that is not worth a correction

	// While a backlog comes, zero stands in for the lag: arrivals say nothing then.
	backlog bool
	zero    samples // see socket.zero
	until   samples // arrival after which it is no backlog any more
}

// expectBacklog prepares for a bridge that sends what it has kept for seconds, on a
// socket whose timestamps began at zero, or before.
func (c *clock) expectBacklog(zero samples) { c.backlog, c.zero = true, zero }

// observe notes that a packet arrived. It reports false, and notes nothing,
// when the timestamp cannot be of the same clock.
func (c *clock) observe(timestamp, arrival samples) bool {
	lag := c.lag(timestamp, arrival)
	if c.running && (lag < c.offset-maxEarly || lag > c.offset+maxLate) {
		return false
	}
	switch {
	case !c.begun:
		c.begun, c.begin, c.lowest = true, arrival, lag
	case c.running && arrival-c.begin >= driftWindow:
		// The smaller one of two windows: one that has only late packets proves nothing.
		c.measure(min(c.lowest, c.before))
		c.before, c.begin, c.lowest = c.lowest, arrival, lag
	default:
		c.lowest = min(c.lowest, lag)
	}
	return true
}

// lag returns how much later than its timestamp a packet arrived, or would have
// without the bridge's backlog.
func (c *clock) lag(timestamp, arrival samples) samples {
	lag := arrival - timestamp
	if c.backlog && !c.begun {
		c.until = arrival + backlogTime
	}
	if c.backlog = c.backlog && lag > c.zero+maxEarly && arrival < c.until; c.backlog {
		return c.zero
	}
	return lag
}

// measure compares the offset with what it should be.
func (c *clock) measure(lag samples) {
	c.drift = 0
	if d := lag - c.offset; max(d, -d) > maxDrift {
		c.drift = d
	}
}

// held reports whether the first packets have been held for long enough.
func (c *clock) held(now samples) bool { return c.begun && now-c.begin >= holdTime }

// start sets the offset from what has arrived so far.
func (c *clock) start() {
	c.running, c.offset, c.before = true, c.lowest, c.lowest
}

// correct sets the offset right where it is wrong, in a pause of the speaker or
// when it cannot wait.
func (c *clock) correct(pause bool) {
	if pause || max(c.drift, -c.drift) > urgentDrift {
		c.offset += c.drift
		c.drift = 0
	}
}
