package app

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mellium.im/xmpp/stanza"

	"usher/api"
	"usher/component"
	"usher/config"
	"usher/muc"
)

// asker asks the XMPP server; see [component.Sender.IQ].
type asker interface {
	IQ(ctx context.Context, to, typ string, payload, reply any) error
}

// serverChecks ask the server, over the control stream, whether what the settings
// name is there.
func (l *leader) serverChecks(t *term) []api.Check {
	control := t.component.As(controlUser + "@" + l.cfg.ComponentDomain + "/" + resource)
	admin := func(ctx context.Context) api.Finding {
		f := adminCheck(ctx, control, l.cfg)
		// What usher has come across may be no more than a moment's refusal.
		if seen := problem(t.rooms.Problems()[muc.CheckControl], ""); f.State == api.CheckOK && seen.State != api.CheckOK {
			return seen
		}
		return f
	}
	return []api.Check{
		{Name: "muc", Run: func(ctx context.Context) api.Finding { return mucCheck(ctx, control, l.cfg) }},
		{Name: muc.CheckControl, Run: admin},
		{Name: "focus", Run: func(ctx context.Context) api.Finding { return focusCheck(ctx, control, l.cfg) }},
	}
}

// discoInfo and discoItems are questions and answers of XEP-0030.
type discoInfo struct {
	XMLName    xml.Name `xml:"http://jabber.org/protocol/disco#info query"`
	Identities []struct {
		Category string `xml:"category,attr"`
	} `xml:"identity"`
}

type discoItems struct {
	XMLName xml.Name `xml:"http://jabber.org/protocol/disco#items query"`
	Node    string   `xml:"node,attr,omitempty"`
	Items   []struct {
		JID  string `xml:"jid,attr"`
		Node string `xml:"node,attr"`
	} `xml:"item"`
}

// whileDown is the finding of a question that could not be asked: the check of the
// stream says why.
var whileDown = ok("not known while the component is down")

// noAnswer is the finding of a question that nobody answers: a server that is busy for
// a moment, or hangs, of which the streams' pings find out.
var noAnswer = warn("Prosody does not answer", "wait, or look at Prosody's log and load")

// mucCheck asks whether the rooms' domain is one of rooms.
func mucCheck(ctx context.Context, control asker, cfg config.Config) api.Finding {
	is, err := isMUC(ctx, control, cfg.MUC)
	switch {
	case errors.Is(err, component.ErrDown):
		return whileDown
	case errors.Is(err, context.DeadlineExceeded):
		return noAnswer
	case is:
		return ok(cfg.MUC + " has rooms")
	case err == nil:
		err = errors.New("it has no rooms")
	}
	seen := fmt.Sprintf("%s (USHER_MUC) is not there: %v", cfg.MUC, err)
	if found := findMUCs(ctx, control, cfg.XMPPDomain); len(found) > 0 {
		seen += "; " + cfg.XMPPDomain + " has " + strings.Join(found, ", ")
	}
	return fail(seen, "set USHER_MUC to hosts.muc of the site's config.js")
}

// isMUC asks a domain whether it has rooms (XEP-0045 §6.1).
func isMUC(ctx context.Context, control asker, domain string) (bool, error) {
	var info discoInfo
	err := control.IQ(ctx, domain, "get", discoInfo{}, &info)
	for _, identity := range info.Identities {
		if identity.Category == "conference" {
			return true, nil
		}
	}
	return false, err
}

// maxFound is how many parts of a server are asked what they are; Jitsi's has ten.
const maxFound = 20

// findMUCs returns the parts of the server that have rooms.
func findMUCs(ctx context.Context, control asker, domain string) (found []string) {
	var items discoItems
	if control.IQ(ctx, domain, "get", discoItems{}, &items) != nil {
		return nil
	}
	for _, item := range items.Items[:min(len(items.Items), maxFound)] {
		if is, _ := isMUC(ctx, control, item.JID); is {
			found = append(found, item.JID)
		}
	}
	slices.Sort(found)
	return found
}

// What Prosody's MUC lets its administrators alone do, and so lists for them alone
// (XEP-0050 §3.1; mod_muc and mod_adhoc, the same in 0.12 and 13). It tells
// who is an administrator without a room.
const (
	commandList    = "http://jabber.org/protocol/commands"
	commandDestroy = "http://prosody.im/protocol/muc#destroy"
)

// adminCheck asks what the rooms' domain lets usher do.
func adminCheck(ctx context.Context, control asker, cfg config.Config) api.Finding {
	ctl := controlUser + "@" + cfg.ComponentDomain
	var commands discoItems
	err := control.IQ(ctx, cfg.MUC, "get", discoItems{Node: commandList}, &commands)
	switch {
	case errors.Is(err, component.ErrDown):
		return whileDown
	case err != nil:
		return ok("not known: " + err.Error())
	}
	for _, command := range commands.Items {
		if command.Node == commandDestroy {
			return ok(ctl + " is an admin of " + cfg.MUC)
		}
	}
	return fail(ctl+" is no admin of "+cfg.MUC+", so usher can enter no room", newSite(cfg).AdminLine())
}

// focusCheck asks Jicofo whether it is there. When it is not, no meeting can begin,
// for nobody; usher works.
func focusCheck(ctx context.Context, control asker, cfg config.Config) api.Finding {
	err := control.IQ(ctx, cfg.FocusJID+"/focus", "get", struct {
		XMLName xml.Name `xml:"urn:xmpp:ping ping"`
	}{}, nil)
	switch {
	case err == nil:
		return ok(cfg.FocusJID + " answers")
	case errors.Is(err, component.ErrDown):
		return whileDown
	case errors.Is(err, stanza.Error{Condition: stanza.FeatureNotImplemented}):
		return ok(cfg.FocusJID + " answers") // that it knows no pings
	}
	return warn(cfg.FocusJID+" (USHER_FOCUS_JID) does not answer: "+err.Error(),
		"start Jicofo, or set USHER_FOCUS_JID to the account that it logs in with, such as focus@auth."+cfg.XMPPDomain)
}
