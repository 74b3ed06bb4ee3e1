package sim

import (
	"context"
	"encoding/xml"
	"fmt"
	"sync"

	"mellium.im/xmpp/stanza"

	"usher/component"
)

// JVBConfig configures a [JVB].
type JVBConfig struct {
	Site     Site
	Name     string // its nick in the brewery
	Brewery  string // bare address
	User     string // account in auth.<domain>
	Password string
	// Bridge is how it sends sound; but for the URL, which comes with each connect.
	Bridge BridgeConfig
}

// JVB plays a video bridge in its brewery: it announces statistics and does what it
// is asked there, by whoever is in. Of media it has what [Colibri.Play] is given.
type JVB struct {
	*Colibri
	cfg    JVBConfig
	link   *component.Link
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu sync.Mutex
	in bool // the brewery has confirmed us
}

// StartJVB logs in and blocks until the brewery has confirmed it, or ctx ends. End it
// with Close.
func StartJVB(ctx context.Context, cfg JVBConfig) (*JVB, error) {
	v := &JVB{Colibri: NewColibri(cfg.Bridge), cfg: cfg}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	var err error
	v.link, err = component.NewClient(component.ClientConfig{
		Addr: cfg.Site.ClientAddr, JID: cfg.User + "@" + cfg.Site.authDomain() + "/" + cfg.Name,
		Password: cfg.Password, ServerName: cfg.Site.authDomain(), CAFile: cfg.Site.CAFile,
		Options: component.Options{Log: cfg.Site.log(), Handler: component.Handler{
			Presence: v.onPresence,
			IQ:       map[xml.Name]func(component.Request){{Space: "jitsi:colibri2", Local: "conference-modify"}: v.onModify},
			Up:       func(string) { v.done.Go(func() { v.send(mucJoin) }) },
		}},
	})
	if err != nil {
		return nil, err
	}
	v.done.Go(func() { _ = v.link.Run(v.ctx) })
	err = v.changed.await(ctx, func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.in
	})
	if err != nil {
		v.Close()
		return nil, fmt.Errorf("bridge %s is not in the brewery: %w", cfg.Name, err)
	}
	return v, nil
}

// Close ends the JVB, and returns when nothing of it is left running.
func (v *JVB) Close() {
	v.cancel()
	v.done.Wait()
	v.Die()
}

// send sends a presence to the brewery.
func (v *JVB) send(payload ...any) {
	_ = v.link.As("").Send(v.ctx, "presence", v.cfg.Brewery+"/"+v.cfg.Name, "", payload...)
}

// bridgeStats are a few of the statistics that a JVB announces (MucPublisher;
// jitsi-xmpp-extensions, ColibriStatsExtension).
type bridgeStats struct {
	XMLName xml.Name     `xml:"http://jitsi.org/protocol/colibri stats"`
	Stats   []bridgeStat `xml:"stat"`
}

type bridgeStat struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

func (v *JVB) onPresence(d *xml.Decoder, start xml.StartElement) {
	var p occupantPresence
	if d.DecodeElement(&p, &start) != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if room, _ := p.occupant(); room == v.cfg.Brewery && p.Type == "" && p.status("110") && !v.in {
		v.in = true
		v.done.Go(func() {
			v.send(smackPriority, bridgeStats{Stats: []bridgeStat{{"version", "2.3.SNAPSHOT"}, {"stress_level", "0.1"}}})
		})
		v.changed.ring()
	}
}

// onModify does what somebody in the brewery asks (XmppConnection, MucClient).
func (v *JVB) onModify(r component.Request) {
	var q ConferenceModify
	if err := r.Decode(&q); err != nil || r.Type != "get" {
		refuse(r, nil, stanza.BadRequest, "")
		return
	}
	v.done.Go(func() { // expiring waits for the sockets
		if err := v.Modify(q); err != nil {
			condition, text := conditionOf(err)
			refuse(r, nil, condition, text)
			return
		}
		r.Answer("result", newElement("jitsi:colibri2", "conference-modified", ""))
	})
}
