package bridge

import (
	"fmt"
	"strings"
)

const (
	// maxSources bounds the streams that a bridge may announce in a part: those of
	// a large meeting in which everybody reloads a few times.
	maxSources = 2000
	// maxName bounds tags, endpoints and versions, in bytes.
	maxName = 256
)

var errSpeech = fmt.Errorf("somebody began to speak more than %d times: not all of it is in the timeline", maxSpans)

// announce begins a stream of packets, or begins it anew.
func (p *Part) announce(socket *socket, m start) {
	name := sourceName{m.Custom.Endpoint, m.Tag}
	encoding := strings.ToLower(m.Format.Encoding)
	if name.endpoint == "" || len(name.endpoint) > maxName || len(name.tag) > maxName || encoding != "opus" && encoding != "red" {
		p.metrics.count(packetMalformed)
		return
	}
	s := p.sources[name]
	if s == nil {
		if len(p.sources) == maxSources {
			p.metrics.count(packetRefused)
			p.trouble(fmt.Errorf("the bridge announced more than %d streams", maxSources))
			return
		}
		s = &source{endpoint: name.endpoint}
		p.sources[name] = s
	}
	p.drain(s, true)
	s.restart()
	if socket.begun {
		s.clock.expectBacklog(socket.zero)
	}
	s.heard = p.now
	s.socket, s.red = socket, encoding == "red"
	socket.sources[name.tag] = s
}

// media takes in a packet that arrived at the given time.
func (p *Part) media(socket *socket, at samples, m media) {
	s := socket.sources[m.Tag]
	if s == nil || s.socket != socket {
		p.metrics.count(packetRefused) // not announced, or of a socket that another one has replaced
		return
	}
	opus := m.Payload
	if s.red {
		opus = redPrimary(opus)
	}
	k := packet{timestamp: samples(m.Timestamp), arrival: at, length: opusLength(opus), opus: opus}
	if k.length == 0 || len(opus) > maxPacket || k.timestamp > maxTimestamp || k.timestamp < -maxTimestamp {
		p.metrics.count(packetMalformed)
		return
	}
	k.loud = loud(m.Level, opus, k.length)
	if at-s.heard > idleTime || !s.clock.observe(k.timestamp, at) {
		p.drain(s, true)
		s.restart()
		s.clock.observe(k.timestamp, at)
	}
	s.heard = at
	if s.put(k) {
		p.metrics.count(packetTaken)
	} else {
		p.metrics.count(packetLate)
	}
	p.drain(s, false)
}

// drain writes the packets of a source that need not wait any longer, or all.
func (p *Part) drain(s *source, flush bool) {
	for {
		k, position, ok := s.take(p.now, flush)
		if !ok {
			return
		}
		p.write(s, k, position)
	}
}

// write notes who speaks and puts the sound into a file.
func (p *Part) write(s *source, k packet, position samples) {
	if s.speaker == nil {
		p.identify(s)
	}
	if k.loud {
		s.speaker.speech.add(position, k.length)
		if s.speaker.speech.full {
			p.trouble(errSpeech)
		}
	}
	p.changed = true
	if s.encrypted {
		s.speaker.encrypted = true
		return
	}
	if p.cfg.Dir == "" || p.cfg.Levels {
		return
	}
	t, err := p.track(s, position)
	if err == nil {
		err = t.write(p.now, position, k)
	}
	p.trouble(err)
}
