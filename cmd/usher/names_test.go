package main

import (
	"testing"

	"usher/api"
	"usher/internal/stack"
)

// TestNamesThatTheServerDoesNotKnow proves that usher asks the server, before there
// is any meeting, whether what its settings name is there, and says which one is
// wrong, and what to do.
func TestNamesThatTheServerDoesNotKnow(t *testing.T) {
	s := newSite(t)
	first := s.runUsher()
	s.waitReady("")
	for name, want := range map[string]string{
		"muc": stack.MUCDomain + " has rooms", "control": "ctl@" + s.cfg.ComponentDomain + " is an admin", "focus": s.cfg.FocusJID + " answers",
	} {
		if got := s.check(name); got.State != api.CheckOK || !containsAll(got.Seen, []string{want}) {
			t.Errorf("with the right settings it says of %s: %+v, want %q", name, got, want)
		}
	}
	first.kill()
	for _, tt := range []struct {
		flag, check string
		state       api.CheckState
		want        []string
	}{
		{"--muc=nowhere." + stack.Domain, "muc", api.CheckFail, []string{"nowhere.meet.jitsi (USHER_MUC) is not there", "has", stack.MUCDomain, "set USHER_MUC to"}},
		{"--muc=breakout." + stack.Domain, "control", api.CheckFail, []string{"is no admin of breakout.", `admins = { "ctl@usher.meet.jitsi"`}},
		{"--focus-jid=nobody@" + stack.AuthDomain, "focus", api.CheckWarn, []string{"nobody@auth.meet.jitsi (USHER_FOCUS_JID) does not answer"}},
		{"--focus-jid=focus@nowhere." + stack.Domain, "focus", api.CheckWarn, []string{"focus@nowhere.meet.jitsi (USHER_FOCUS_JID) does not answer"}},
	} {
		p := s.runUsher(tt.flag)
		s.until(tt.flag+": /readyz names it", func() bool {
			r, err := s.readiness()
			if err != nil || r.Role != api.RoleLeader {
				return false
			}
			got := s.check(tt.check)
			return got.State == tt.state && containsAll(got.Seen+got.Do, tt.want)
		})
		s.until(tt.flag+": the log says so", func() bool { return s.log.lines(`"check":"`+tt.check, string(tt.state), tt.want[0]) == 1 })
		if r, err := s.readiness(); err != nil || r.Ready != (tt.state == api.CheckWarn) {
			t.Errorf("%s: ready %v, %v; want 503 only where it fails", tt.flag, r.Ready, err)
		}
		p.kill()
	}
}
