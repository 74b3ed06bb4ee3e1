package muc

import (
	"context"
	"encoding/xml"
	"fmt"
	"strconv"
	"time"

	"usher/meeting"
)

const (
	// meetingIDInterval is the time between the first two questions for a room's
	// meeting id. It doubles up to maxMeetingIDInterval: a room that has no id has
	// none for its whole life (mod_muc_meeting_id).
	meetingIDInterval    = 5 * time.Second
	maxMeetingIDInterval = 5 * time.Minute
	// maxMeetingID is what is taken of a meeting id, in bytes; Jitsi's are UUIDs.
	maxMeetingID = 64
)

// bridges returns how many video bridges carry the conference, as the focus's
// presence says (Jicofo's ConferenceProperties, bridge-count).
func (p *presence) bridges() int {
	for _, property := range p.Properties {
		if n, err := strconv.Atoi(property.Value); property.Key == "bridge-count" && err == nil {
			return max(0, n)
		}
	}
	return 0
}

// bridgesReported takes note of how many bridges carry the conference, and passes
// it on when it is new and Jitsi's id of the conference is known.
func (r *Rooms) bridgesReported(rm *room, at time.Time, n int) {
	if !r.cfg.Site.Conferences || rm.conference.Bridges == n {
		return
	}
	rm.conference.Bridges = n
	r.reportConference(rm, at)
	if rm.lacksMeetingID() && rm.phase == inside {
		r.schedule(rm, 0)
	}
}

// reportConference passes on what is known of the conference, if that is all.
func (r *Rooms) reportConference(rm *room, at time.Time) {
	if r.cfg.Site.Conferences && !rm.lacksMeetingID() {
		r.report(rm, at, meeting.ConferenceChanged{Conference: rm.conference})
	}
}

// lacksMeetingID reports whether the conference is on a bridge under an id that
// usher does not know.
func (rm *room) lacksMeetingID() bool {
	return rm.conference.Bridges > 0 && rm.conference.JitsiMeetingID == ""
}

// readMeetingID asks the room for Jitsi's id of the conference, which is in what it
// says of itself (XEP-0045 §6.4, muc#roominfo_meetingId of mod_muc_meeting_id).
func (r *Rooms) readMeetingID(ctx context.Context, rm *room) {
	rm.meetingIDWait = min(max(2*rm.meetingIDWait, meetingIDInterval), maxMeetingIDInterval)
	rm.meetingIDAt = time.Now().Add(rm.meetingIDWait)
	var info struct {
		Fields []struct {
			Var   string `xml:"var,attr"`
			Value string `xml:"value"`
		} `xml:"jabber:x:data x>field"`
	}
	err := r.request(ctx, r.cfg.Occupant, r.address(rm.name), "get", struct {
		XMLName xml.Name `xml:"http://jabber.org/protocol/disco#info query"`
	}{}, &info)
	if rm.phase != inside || err != nil {
		return
	}
	for _, f := range info.Fields {
		if f.Var == "muc#roominfo_meetingId" && f.Value != "" && len(f.Value) <= maxMeetingID {
			rm.conference.JitsiMeetingID = f.Value
			delete(r.problems, CheckMeetingID)
			r.reportConference(rm, time.Now())
			return
		}
	}
	r.problem(CheckMeetingID, Problem{rm.name, "it has no meeting id, by which its bridge would be asked for people's sound",
		fmt.Sprintf("have modules_enabled of Component %q in Prosody hold \"muc_meeting_id\"", r.cfg.Site.MUC)})
}
