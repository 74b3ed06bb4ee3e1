package component

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"time"
)

const (
	// MaxStanzaOut is the size in bytes of the largest stanza that is sent.
	// Prosody closes a client stream over 256 KiB and a component stream over
	// 512 KiB, together with every meeting on it.
	MaxStanzaOut = 200_000

	// queueLength is how many stanzas may wait for the writer. It is the burst
	// of re-joining the rooms of a busy site; who comes then waits.
	queueLength = 1024

	// writeBatch is the size in bytes up to which waiting stanzas share one
	// write, so that a burst costs few system calls and TLS records.
	writeBatch = 64 << 10

	// writeTimeout is how long one write may take. Half a stanza may have left
	// by then, so the stream ends with it.
	writeTimeout = 10 * time.Second
)

// outgoing is a stanza that waits for the writer.
type outgoing struct {
	kind string // presence, message or iq
	xml  []byte
}

var (
	errNoTo = errors.New("component: stanza without an address")
	errFrom = errors.New("component: sender is not an address of this stream")
)

// send encodes one stanza and queues it. It blocks while the queue is full,
// until ctx or the stream ends; the write deadline bounds that.
func (s *stream) send(ctx context.Context, kind, from, to, typ, id string, payload ...any) error {
	if err := s.checkFrom(from); err != nil {
		return err
	}
	b, err := encode(kind, from, to, typ, id, payload...)
	if err != nil {
		return err
	}
	select {
	case <-s.dead.Done():
		return s.down()
	default:
	}
	select {
	case s.queue <- outgoing{kind, b}:
		return nil
	case <-s.dead.Done():
		return s.down()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// checkFrom holds the rule of senders: a component names an address of its
// domain on every stanza (Prosody 13 closes the stream on any other), a client
// none, because the server stamps it (RFC 6120 §8.1.2.1).
func (s *stream) checkFrom(from string) error {
	if s.link.kind == kindComponent && domainOf(from) != s.link.domain ||
		s.link.kind == kindClient && from != "" {
		return fmt.Errorf("%w: %q", errFrom, from)
	}
	return nil
}

// down is the error for stanzas of a stream that has ended.
func (s *stream) down() error {
	return fmt.Errorf("%w: %w", ErrDown, context.Cause(s.dead))
}

// write is the one goroutine that writes. When ctx ends it writes what is
// queued, closes our side of the stream (RFC 6120 §4.4) and returns.
func (s *stream) write(ctx context.Context) {
	var batch []byte
	for {
		select {
		case <-s.dead.Done():
			return
		case o := <-s.queue:
			batch = s.gather(batch[:0], o)
			if !s.flush(batch) {
				return
			}
		case <-ctx.Done():
			s.link.setDown(nil)
			for len(s.queue) > 0 {
				batch = s.gather(batch[:0], <-s.queue)
				if !s.flush(batch) {
					return
				}
			}
			s.flush([]byte("</stream:stream>"))
			return
		}
	}
}

// gather appends o and what waits behind it, up to about writeBatch.
func (s *stream) gather(batch []byte, o outgoing) []byte {
	for {
		batch = append(batch, o.xml...)
		s.link.metrics.sent.WithLabelValues(o.kind).Inc()
		if s.link.opts.LogXML {
			s.link.log.Debug("stanza sent", "xml", string(o.xml))
		}
		if len(batch) >= writeBatch {
			return batch
		}
		select {
		case o = <-s.queue:
		default:
			return batch
		}
	}
}

func (s *stream) flush(b []byte) bool {
	err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err == nil {
		_, err = s.conn.Write(b)
	}
	if err != nil {
		s.fail(fmt.Errorf("%w: %w", errWrite, err))
		return false
	}
	return true
}

// encode returns <kind from= to= type= id=>payload…</kind>, leaving out empty
// attributes.
func encode(kind, from, to, typ, id string, payload ...any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("<" + kind)
	for _, a := range [...][2]string{{"from", from}, {"to", to}, {"type", typ}, {"id", id}} {
		if a[1] != "" {
			b.WriteString(" " + a[0] + `="`)
			_ = xml.EscapeText(&b, []byte(a[1]))
			b.WriteByte('"')
		}
	}
	b.WriteByte('>')
	for _, p := range payload {
		if p == nil {
			continue
		}
		x, err := xml.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", kind, err)
		}
		b.Write(x)
	}
	b.WriteString("</" + kind + ">")
	if b.Len() > MaxStanzaOut {
		return nil, fmt.Errorf("%w: %s of %d bytes", ErrTooLarge, kind, b.Len())
	}
	return b.Bytes(), nil
}
