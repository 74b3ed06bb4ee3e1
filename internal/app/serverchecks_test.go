package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"mellium.im/xmpp/stanza"

	"usher/api"
	"usher/component"
	"usher/config"
)

// fakeServer answers questions by who and, for commands, what they are asked.
type fakeServer struct {
	mucs  []string
	items []string // of the main domain
	admin bool
	focus error
	down  bool
	hangs bool
}

func (s fakeServer) IQ(_ context.Context, to, _ string, payload, reply any) error {
	question, ofItems := payload.(discoItems)
	switch reply := reply.(type) {
	case nil:
		return s.focus
	case *discoInfo:
		for _, muc := range s.mucs {
			if muc == to {
				reply.Identities = append(reply.Identities, struct {
					Category string `xml:"category,attr"`
				}{"conference"})
				return nil
			}
		}
	case *discoItems:
		for _, jid := range s.items {
			reply.Items = append(reply.Items, struct {
				JID  string `xml:"jid,attr"`
				Node string `xml:"node,attr"`
			}{JID: jid})
		}
		if ofItems && question.Node == commandList && s.admin {
			reply.Items = append(reply.Items, struct {
				JID  string `xml:"jid,attr"`
				Node string `xml:"node,attr"`
			}{to, commandDestroy})
		}
		return nil
	}
	if s.down {
		return component.ErrDown
	}
	if s.hangs {
		return context.DeadlineExceeded
	}
	return stanza.Error{Condition: stanza.ServiceUnavailable}
}

// TestServerChecks: what is wrong is named with its setting, and what is there
// instead. The real server is asked in the tests of cmd/usher.
func TestServerChecks(t *testing.T) {
	cfg := config.Config{MUC: "muc.meet.jitsi", FocusJID: "focus@auth.meet.jitsi", ComponentDomain: "usher.meet.jitsi", OccupantPassword: "p", HiddenDomain: "hidden.meet.jitsi"}
	cfg.XMPPDomain = "meet.jitsi"
	unavailable := stanza.Error{Condition: stanza.ServiceUnavailable}
	for _, tt := range []struct {
		name   string
		server fakeServer
		check  func(context.Context, asker, config.Config) api.Finding
		state  api.CheckState
		says   []string // in what was seen and what to do
	}{
		{"rooms", fakeServer{mucs: []string{"muc.meet.jitsi"}}, mucCheck, api.CheckOK, []string{"muc.meet.jitsi has rooms"}},
		{"no such rooms", fakeServer{mucs: []string{"conference.meet.jitsi"}, items: []string{"speakerstats.meet.jitsi", "conference.meet.jitsi"}}, mucCheck, api.CheckFail,
			[]string{"muc.meet.jitsi (USHER_MUC) is not there", "meet.jitsi has conference.meet.jitsi", "set USHER_MUC to"}},
		{"rooms of a server that is down", fakeServer{down: true}, mucCheck, api.CheckOK, []string{"not known"}},
		{"admin", fakeServer{admin: true}, adminCheck, api.CheckOK, []string{"ctl@usher.meet.jitsi is an admin of muc.meet.jitsi"}},
		{"no admin", fakeServer{}, adminCheck, api.CheckFail, []string{"no admin", `admins = { "ctl@usher.meet.jitsi", "focus@auth.meet.jitsi" }`}},
		{"focus", fakeServer{}, focusCheck, api.CheckOK, []string{"focus@auth.meet.jitsi answers"}},
		{"a focus that knows no pings", fakeServer{focus: stanza.Error{Condition: stanza.FeatureNotImplemented}}, focusCheck, api.CheckOK, []string{"answers"}},
		{"no focus", fakeServer{focus: unavailable}, focusCheck, api.CheckWarn, []string{"focus@auth.meet.jitsi (USHER_FOCUS_JID) does not answer", "start Jicofo, or set USHER_FOCUS_JID"}},
		{"a focus of another server", fakeServer{focus: stanza.Error{Condition: stanza.NotAllowed}}, focusCheck, api.CheckWarn, []string{"does not answer"}},
		{"a server that hangs", fakeServer{hangs: true}, mucCheck, api.CheckWarn, []string{"does not answer"}},
		{"a focus that hangs", fakeServer{focus: context.DeadlineExceeded}, focusCheck, api.CheckWarn, []string{"does not answer"}},
	} {
		got := tt.check(t.Context(), tt.server, cfg)
		if text := fmt.Sprint(got); got.State != tt.state || (got.State == api.CheckOK) != (got.Do == "") {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.state)
		} else {
			for _, want := range tt.says {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %s, want %q in it", tt.name, text, want)
				}
			}
		}
	}
}
