package sim

import (
	"context"
	"encoding/xml"
	"errors"
	"maps"
	"slices"
	"sync"

	"mellium.im/xmpp/stanza"
)

// ConferenceModify is a request to a JVB (jitsi-xmpp-extensions, colibri2), as far
// as connects go.
type ConferenceModify struct {
	XMLName  xml.Name  `xml:"jitsi:colibri2 conference-modify"`
	Meeting  string    `xml:"meeting-id,attr"`
	Connects []Connect `xml:"connects>connect"`
	// Text is all of it, as it was sent.
	Text string `xml:",innerxml"`
}

// Connect is one of the services that a JVB is to send a conference's sound to.
type Connect struct {
	ID       string `xml:"id,attr"`
	Create   bool   `xml:"create,attr"`
	Expire   bool   `xml:"expire,attr"`
	URL      string `xml:"url,attr"`
	Protocol string `xml:"protocol,attr"`
	Type     string `xml:"type,attr"`
	Audio    bool   `xml:"audio,attr"`
}

// Colibri is the conferences of one JVB, with the connects of each: it follows
// ColibriV2 handling of jitsi-videobridge a29d97d13. It is safe for concurrent use.
type Colibri struct {
	cfg BridgeConfig // but for the URL

	changed     bell
	mu          sync.Mutex
	conferences map[string]map[string]*Bridge // by meeting and connect
	asked       []ConferenceModify
	all         bool // see BeginAll
}

// NewColibri returns a JVB without conferences. Of cfg the URL does not count.
func NewColibri(cfg BridgeConfig) *Colibri {
	return &Colibri{cfg: cfg, conferences: map[string]map[string]*Bridge{}}
}

// Begin has Jicofo allocate a conference on the JVB.
func (c *Colibri) Begin(meeting string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conferences[meeting] == nil {
		c.conferences[meeting] = map[string]*Bridge{}
	}
}

// BeginAll has every conference that is asked for be on this JVB, as the only one of
// its site.
func (c *Colibri) BeginAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = true
}

// End ends a conference, and its connects in order.
func (c *Colibri) End(meeting string) {
	for _, b := range c.forget(meeting) {
		b.Expire()
	}
}

// Die ends the JVB like kill -9: it knows no conference any more.
func (c *Colibri) Die() {
	c.mu.Lock()
	meetings := slices.Collect(maps.Keys(c.conferences))
	c.mu.Unlock()
	for _, meeting := range meetings {
		for _, b := range c.forget(meeting) {
			b.Die()
		}
	}
}

func (c *Colibri) forget(meeting string) (ended []*Bridge) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ended = slices.Collect(maps.Values(c.conferences[meeting]))
	delete(c.conferences, meeting)
	return ended
}

// Asked returns what the JVB was asked to do, in order.
func (c *Colibri) Asked() []ConferenceModify {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked)
}

// Sockets returns how many sockets are open for a connect of a meeting.
func (c *Colibri) Sockets(meeting, connect string) int {
	c.mu.Lock()
	b := c.conferences[meeting][connect]
	c.mu.Unlock()
	if b == nil {
		return 0
	}
	return b.Sockets()
}

// AwaitConnected blocks until a connect of a meeting has a socket, or ctx ends.
func (c *Colibri) AwaitConnected(ctx context.Context, meeting, connect string) error {
	var b *Bridge
	if err := c.changed.await(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		b = c.conferences[meeting][connect]
		return b != nil
	}); err != nil {
		return err
	}
	return b.AwaitConnected(ctx, 1)
}

// conference returns the connects of a meeting, nil where there is none. c.mu is held.
func (c *Colibri) conference(meeting string) map[string]*Bridge {
	if c.all && c.conferences[meeting] == nil {
		c.conferences[meeting] = map[string]*Bridge{}
	}
	return c.conferences[meeting]
}

// Modify does what is asked and returns the error answer, nil for a result.
func (c *Colibri) Modify(q ConferenceModify) error {
	c.mu.Lock()
	c.asked = append(c.asked, q)
	conference := c.conference(q.Meeting)
	var expired []*Bridge
	err := error(nil)
	if conference == nil {
		err = stanza.Error{Type: stanza.Cancel, Condition: stanza.ItemNotFound, Text: map[string]string{"en": "Conference not found for ID: " + q.Meeting}}
		q.Connects = nil
	}
	for _, connect := range q.Connects {
		b := conference[connect.ID]
		switch {
		case connect.URL == "" || connect.Protocol != "mediajson" || connect.Type != "recorder":
			err = stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest, Text: map[string]string{"en": "an attribute is missing"}}
		case connect.Expire:
			if b != nil {
				expired = append(expired, b)
			}
			delete(conference, connect.ID)
		case connect.Create && b != nil:
			err = stanza.Error{Type: stanza.Modify, Condition: stanza.BadRequest, Text: map[string]string{"en": "Connect with create=true for an already-existing id=" + connect.ID}}
		case connect.Create && connect.Audio:
			cfg := c.cfg
			cfg.URL = connect.URL
			conference[connect.ID] = StartBridge(cfg)
		default:
			err = stanza.Error{Type: stanza.Cancel, Condition: stanza.FeatureNotImplemented}
		}
		if err != nil {
			break
		}
	}
	c.mu.Unlock()
	for _, b := range expired {
		b.Expire()
	}
	c.changed.ring()
	return err
}

// Play sends a microphone's sound to all connects of a meeting, those that are made
// meanwhile included. It blocks until the sound is over or ctx ends.
func (c *Colibri) Play(ctx context.Context, meeting string, m Microphone) {
	m.play(ctx, func(p exported) {
		c.mu.Lock()
		to := slices.Collect(maps.Values(c.conferences[meeting]))
		c.mu.Unlock()
		for _, b := range to {
			b.forward(p)
		}
	})
}

// conditionOf returns the condition and the text of an error answer.
func conditionOf(err error) (stanza.Condition, string) {
	var e stanza.Error
	if !errors.As(err, &e) {
		return stanza.InternalServerError, ""
	}
	return e.Condition, e.Text["en"]
}
