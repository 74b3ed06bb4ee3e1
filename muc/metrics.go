package muc

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The self-checks of the rooms that usher enters, and of what is checked elsewhere
// for them ([Rooms.SetProblem]).
const (
	CheckControl      = "control"       // usher is an administrator of the MUC
	CheckEntry        = "entry"         // rooms let usher in
	CheckRole         = "role"          // it becomes their owner when it has to be
	CheckModerator    = "moderator"     // humans become moderators
	CheckHiddenDomain = "hidden_domain" // web clients hide it
	CheckLobby        = "lobby"         // usher sees who waits there
	CheckMeetingID    = "meeting_id"    // rooms have Jitsi's id of the conference
)

// Checks are all of them.
var Checks = []string{CheckControl, CheckEntry, CheckRole, CheckModerator, CheckHiddenDomain, CheckLobby, CheckMeetingID}

// metrics of the rooms. Every label value exists from the start.
type metrics struct {
	probes    prometheus.Counter
	entries   *prometheus.CounterVec
	resyncs   *prometheus.CounterVec
	dropped   *prometheus.CounterVec
	untrusted *prometheus.CounterVec
	breakouts *prometheus.CounterVec
	problems  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, r *Rooms) *metrics {
	f := promauto.With(reg)
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		c := f.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		for _, v := range values {
			c.WithLabelValues(v)
		}
		return c
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "usher_rooms_followed", Help: "Rooms that usher is in."}, func() float64 {
		r.mu.Lock()
		defer r.mu.Unlock()
		n := 0
		for _, rm := range r.rooms {
			if rm.phase == inside {
				n++
			}
		}
		return float64(n)
	})
	return &metrics{
		probes:    f.NewCounter(prometheus.CounterOpts{Name: "usher_muc_probes_total", Help: "Questions whether a room exists."}),
		entries:   counter("usher_muc_entries_total", "Entries into rooms.", "result", "ok", "failed"),
		resyncs:   counter("usher_muc_resyncs_total", "Rosters asked for anew.", "reason", "overload", "differs", "not_in"),
		dropped:   counter("usher_muc_presences_dropped_total", "Presences that were not used.", "reason", "undecodable", "foreign", "no_nick", "not_followed"),
		breakouts: counter("usher_muc_breakout_messages_total", "Messages of the component of the breakout rooms.", "result", "ok", "undecodable", "other", "foreign", "not_followed"),
		untrusted: counter("usher_untrusted_presence_total", "Claims in presences that were not believed.", "kind", "focus", "feature", "identity", "recording", "address"),
		problems:  counter("usher_self_check_failures_total", "Findings of the self-checks.", "check", Checks...),
	}
}
