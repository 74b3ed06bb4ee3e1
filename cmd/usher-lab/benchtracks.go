package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"usher/internal/sim"
	"usher/internal/stack"
	"usher/meeting"
)

const (
	// talkers of the churnPer people in a meeting have their microphones on.
	talkers = 2
	// tracksRate is how many people join or leave a second: so few that Prosody, the
	// bridge, the crowd and usher have enough of two cores.
	tracksRate = 50
)

// tracks measures how much longer an app waits for a join while all meetings of the
// site are recorded as tracks, compared with none, and what a packet costs usher.
func (b *bench) tracks(ctx context.Context) (samples, error) {
	j, err := b.newJoinBench(ctx)
	if err != nil {
		return nil, err
	}
	defer j.receiver.close()
	defer j.stop()
	j.rate = tracksRate
	listen, err := stack.FreeAddr()
	if err != nil {
		return nil, err
	}
	u, err := j.startHooked(ctx, "USHER_TRACKS_LISTEN="+listen, "USHER_TRACKS_URL=ws://"+listen, "USHER_TRACKS_NOTICE=app",
		"USHER_RECORDINGS_DIR="+filepath.Join(j.dir, "recordings"), "USHER_BREWERY_PASSWORD="+stack.Watcher.Password)
	if err != nil {
		return nil, err
	}
	defer func() { u.kill() }()
	jvb, err := sim.StartJVB(ctx, sim.JVBConfig{Site: j.site, Name: "jvb1", Brewery: stack.BridgeBrewery, User: stack.JVB.User, Password: stack.JVB.Password})
	if err != nil {
		return nil, err
	}
	defer jvb.Close()
	jvb.BeginAll()
	if err := u.follow(ctx, j.rooms); err != nil {
		return nil, err
	}
	got := samples{}
	for range churnRuns {
		without, err := j.churn(ctx, u)
		if err != nil {
			return nil, err
		}
		with, packets, err := j.churnRecorded(ctx, u, jvb)
		if err != nil {
			return nil, err
		}
		for _, w := range []struct {
			name string
			churnWindow
		}{{"none", without}, {"all", with}} {
			b.say("  %-4s recorded: CPU of usher %.0f µs/change; MUC p50 %.1f, p99 %.1f ms, webhook p50 %.1f, p99 %.1f ms", w.name,
				w.usher, percentile(w.muc, 50), percentile(w.muc, 99), percentile(w.app, 50), percentile(w.app, 99))
		}
		for p, name := range map[int]string{50: "p50", 99: "p99"} {
			got.add("tracks_muc_"+name+"_ratio", percentile(with.muc, p)/percentile(without.muc, p))
			got.add("tracks_join_"+name+"_ratio", percentile(with.app, p)/percentile(without.app, p))
		}
		got.add("tracks_packet_cpu", (with.usher-without.usher)*float64(with.changes)/packets)
	}
	return got, nil
}

// churnRecorded is churn while all meetings are recorded; packets is how many usher
// has taken meanwhile.
func (j *joinBench) churnRecorded(ctx context.Context, u *measuredUsher, jvb *sim.JVB) (w churnWindow, packets float64, err error) {
	var meetings struct{ Data []meeting.MeetingInfo }
	if err := u.getJSON(ctx, "/v1/meetings?limit=100", &meetings); err != nil {
		return w, 0, err
	}
	rooms := map[string]string{} // by the meeting's id
	for _, m := range meetings.Data {
		rooms[m.ID] = j.site.Room(m.Room)
		if _, err := u.post(ctx, "/v1/meetings/"+m.ID+"/recordings", "application/json", benchKey, `{"mode":"tracks"}`); err != nil {
			return w, 0, err
		}
	}
	recordings, err := u.recordings(ctx, meeting.RecordingOn, len(rooms))
	if err != nil {
		return w, 0, err
	}
	v := &voices{jvb: jvb, meetings: map[string]string{}, speakers: map[string]context.CancelFunc{}}
	for _, r := range recordings {
		v.meetings[rooms[r.MeetingID]] = r.Parts[0].JitsiMeetingID
	}
	defer v.stop()
	for room, people := range j.crowd.People() {
		for _, nick := range slices.Sorted(maps.Keys(people))[:talkers] {
			v.speak(ctx, room, nick)
		}
	}
	before, err1 := u.metrics(ctx)
	j.changed = func(c sim.Change) { v.change(ctx, c) }
	w, err = j.churn(ctx, u)
	j.changed = func(sim.Change) {}
	after, err2 := u.metrics(ctx)
	const taken = `usher_bridge_packets_total{result="taken"}`
	packets = after[taken] - before[taken]
	if err := errors.Join(err, err1, err2); err != nil {
		return w, 0, err
	}
	// Not all of them: somebody who is back after a reload speaks a moment later.
	if want := float64(len(rooms)*talkers) * churnFor.Seconds() / voiceFrame.Seconds() * 0.9; packets < want {
		return w, 0, fmt.Errorf("usher has taken %v packets, want %v or more", packets, want)
	}
	v.stop()
	for _, r := range recordings {
		if _, err := u.post(ctx, "/v1/recordings/"+r.ID+"/stop", "application/json", benchKey, ""); err != nil {
			return w, 0, err
		}
	}
	for _, r := range recordings {
		if err := u.settled(ctx, r.ID); err != nil {
			return w, 0, err
		}
	}
	return w, packets, nil
}

// recordings blocks until so many are in a state, and returns them.
func (u *measuredUsher) recordings(ctx context.Context, state meeting.RecordingState, n int) ([]meeting.RecordingInfo, error) {
	var found struct{ Data []meeting.RecordingInfo }
	err := u.until(ctx, func() (bool, error) {
		err := u.getJSON(ctx, "/v1/recordings?limit=100&state="+string(state), &found)
		return len(found.Data) == n, err
	})
	return found.Data, err
}

// settled blocks until a recording's files are there.
func (u *measuredUsher) settled(ctx context.Context, id string) error {
	return u.until(ctx, func() (bool, error) {
		var r meeting.RecordingInfo
		err := u.getJSON(ctx, "/v1/recordings/"+id, &r)
		if r.State == meeting.RecordingFailed {
			err = fmt.Errorf("recording %s: %s %s", id, r.Failure, r.Detail)
		}
		return r.State == meeting.RecordingAvailable, err
	})
}

// voiceFrame is the sound in a packet; voicePacket is one as Chrome sends it, 77 bytes
// of which the first says what the others are (RFC 6716 §3.1).
const voiceFrame = 20 * time.Millisecond

var voicePacket = sim.Packet{Opus: append([]byte{0x78}, make([]byte, 76)...), Level: 20}

// voices are the microphones that are on, by who is in the meetings.
type voices struct {
	jvb      *sim.JVB
	meetings map[string]string             // Jitsi's id by the room's address
	speakers map[string]context.CancelFunc // by nick
	away     string                        // room of the one who spoke and has left, to be back next
	started  uint32
	done     sync.WaitGroup
}

// speak turns a microphone on.
func (v *voices) speak(ctx context.Context, room, nick string) {
	ctx, v.speakers[nick] = context.WithCancel(ctx)
	v.started++
	m := sim.Microphone{Endpoint: nick, SSRC: v.started, Sound: func(int) (sim.Packet, bool) { return voicePacket, true }}
	v.done.Go(func() { v.jvb.Play(ctx, v.meetings[room], m) })
}

// change turns off the microphone of somebody who leaves. The next who joins the
// room, who is the same person after a reload, has it on.
func (v *voices) change(ctx context.Context, c sim.Change) {
	switch quiet := v.speakers[c.Nick]; {
	case quiet != nil:
		quiet()
		delete(v.speakers, c.Nick)
		v.away = c.Room
	case c.Joined && c.Room == v.away:
		v.away = ""
		v.speak(ctx, c.Room, c.Nick)
	}
}

// stop turns all off.
func (v *voices) stop() {
	for _, quiet := range v.speakers {
		quiet()
	}
	v.done.Wait()
}
