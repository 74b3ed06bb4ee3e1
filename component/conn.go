package component

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	xstream "mellium.im/xmpp/stream"
)

const (
	// maxStanzaIn is the size in bytes of a stanza above which the stream is given
	// up. Prosody passes 512 KiB on component streams; encoding/xml would read a 64 MB
	// attribute whole.
	maxStanzaIn = 1 << 20

	// maxMessageIn is the same for messages, above which text is dropped instead. The
	// component of the breakout rooms lists all of a meeting in one, with some 300
	// bytes for each room and person, and Prosody lets its own components say as much
	// as they like.
	maxMessageIn = 16 << 20

	// maxDepth is how deep the elements of one stanza may nest. Jitsi's deepest
	// (Jingle) has about 10; every level costs memory.
	maxDepth = 64

	readBuffer = 16 << 10 // bytes, one TLS record
)

// conn is a connection that gives its reader one byte at a time, so that
// whoever parses never takes more than it needs: mellium's negotiation stops
// exactly where our own reading goes on. It also keeps the bytes of the stanza
// being read, and counts them.
type conn struct {
	net.Conn
	r   *bufio.Reader
	raw []byte // what was read since the last reset

	isMessage bool // the stanza being read is one, whose text may be dropped
}

func newConn(nc net.Conn) *conn {
	return &conn{Conn: nc, r: bufio.NewReaderSize(nc, readBuffer)}
}

func (c *conn) Read(p []byte) (int, error) { return c.r.Read(p) }

// ReadByte makes encoding/xml read without a buffer of its own.
func (c *conn) ReadByte() (byte, error) {
	if len(c.raw) >= maxStanzaIn {
		return 0, fmt.Errorf("%w: %d bytes", errOverCap, maxStanzaIn)
	}
	b, err := c.r.ReadByte()
	if err == nil {
		c.raw = append(c.raw, b) // counts
	}
	return b, err
}

// reset starts the next stanza.
func (c *conn) reset() {
	if cap(c.raw) > 64<<10 { // do not hold on to the largest stanza ever seen
		c.raw = nil
	}
	c.raw, c.isMessage = c.raw[:0], false
}

// guard passes the tokens of a negotiated stream on within the limits: no
// deeper than maxDepth, every end tag that of the element it closes.
// While inside it ends with the current stanza.
type guard struct {
	t      *tokens
	open   []xml.Name // elements, the stream's own included
	inside bool
	err    error // what ended the stream, as opposed to a handler's trouble
}

// newGuard takes the connection over from the login. The first token is the
// stream's own header, as the server sent it during the login, so that a fresh
// decoder knows its namespaces.
func newGuard(c *conn, ns string) *guard {
	c.reset()
	header := "<stream:stream xmlns='" + ns + "' xmlns:stream='" + xstream.NS + "'>"
	c.r = bufio.NewReaderSize(io.MultiReader(strings.NewReader(header), c.r), readBuffer)
	return &guard{t: newTokens(c)}
}

// within reports whether a stanza is open.
func (g *guard) within() bool { return len(g.open) > 1 }

func (g *guard) Token() (xml.Token, error) {
	if g.err != nil {
		return nil, g.err
	}
	if g.inside && !g.within() {
		return nil, io.EOF
	}
	tok, err := g.t.Token()
	if errors.Is(err, io.EOF) {
		err = errClosed
	}
	if err != nil {
		g.err = err
		return nil, err
	}
	switch tok := tok.(type) {
	case xml.StartElement:
		if g.open = append(g.open, tok.Name); len(g.open) > 1+maxDepth {
			g.err = fmt.Errorf("%w: %d levels", errOverCap, maxDepth)
		}
	case xml.EndElement:
		last := len(g.open) - 1
		if last < 0 || g.open[last] != tok.Name {
			g.err = fmt.Errorf("%w: end of %q where none is open", errBadXML, tok.Name.Local)
			return nil, g.err
		}
		g.open = g.open[:last]
	}
	return tok, g.err
}
