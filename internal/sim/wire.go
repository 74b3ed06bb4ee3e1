package sim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// wireBuffer holds the longest tag, with its text before it, that a crowd
	// reads whole: Prosody sends no stanza over 512 KiB.
	wireBuffer = 512 << 10
	// wirePatience bounds the handshake.
	wirePatience = 15 * time.Second
	// writePatience bounds each write: longer than Prosody hangs in any test, and what
	// it has to catch up with then.
	writePatience = 2 * time.Minute
)

// wire is a component stream (XEP-0114) that looks at as little as possible:
// names and attributes of tags. It reads what Prosody writes, which never has
// a bare > in an attribute, a comment or CDATA; it is no XML parser.
type wire struct {
	conn net.Conn
	in   *bufio.Reader

	mu  sync.Mutex
	out *bufio.Writer
}

// dialWire opens the stream of a component.
func dialWire(ctx context.Context, addr, domain, secret string) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, wirePatience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	w := &wire{conn: conn, in: bufio.NewReaderSize(conn, wireBuffer), out: bufio.NewWriterSize(conn, 64<<10)}
	err = w.handshake(domain, secret)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("component %s: %w", domain, err)
	}
	return w, nil
}

func (w *wire) handshake(domain, secret string) error {
	header := fmt.Sprintf("<stream:stream xmlns='jabber:component:accept' "+
		"xmlns:stream='http://etherx.jabber.org/streams' to='%s'>", domain)
	if err := w.write(header); err != nil {
		return err
	}
	for {
		t, err := w.next()
		if err != nil {
			return err
		}
		switch t.name() {
		case "stream:stream":
			sum := sha1.Sum([]byte(t.attr("id") + secret))
			if err := w.write("<handshake>" + hex.EncodeToString(sum[:]) + "</handshake>"); err != nil {
				return err
			}
		case "stream:error":
			reason, err := w.next()
			if err != nil {
				return err
			}
			return fmt.Errorf("stream error: %s", reason.name())
		case "handshake":
			if !t.empty() {
				_, err = w.next()
			}
			return err
		}
	}
}

// write sends prepared XML at once. Prosody reads on while we do not read, so
// this may also be called by whoever reads.
func (w *wire) write(text ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.conn.SetWriteDeadline(time.Now().Add(writePatience)); err != nil {
		return err
	}
	for _, t := range text {
		if _, err := w.out.WriteString(t); err != nil {
			return err
		}
	}
	return w.out.Flush()
}

// tag is <…> with its brackets; valid until the next one is read.
type tag []byte

// next returns the next tag, skipping text.
func (w *wire) next() (tag, error) {
	text, err := w.in.ReadSlice('>')
	if err != nil {
		return nil, err
	}
	return tag(text[max(0, bytes.LastIndexByte(text, '<')):]), nil
}

// end tells a closing tag, empty one that closes itself.
func (t tag) end() bool   { return bytes.HasPrefix(t, []byte("</")) }
func (t tag) empty() bool { return bytes.HasSuffix(t, []byte("/>")) }

func (t tag) name() string {
	return string(t[1 : 1+bytes.IndexAny(t[1:], " />")])
}

// attr returns an attribute as it stands, entities and all; empty if absent.
func (t tag) attr(name string) string {
	for _, quote := range []string{"'", `"`} {
		if _, rest, ok := strings.Cut(string(t), " "+name+"="+quote); ok {
			value, _, _ := strings.Cut(rest, quote)
			return value
		}
	}
	return ""
}
