package bridge_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"usher/bridge"
	"usher/meeting"
	"usher/storage"
)

// TestSessionsSayWhoSpokeWhen puts the parts of a session one after the other.
func TestSessionsSayWhoSpokeWhen(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		levels, tracks := s.record(meeting.ModeLevels), s.record(meeting.ModeTracks)
		s.conference("jvb1", jitsiID)
		synctest.Wait()
		began := time.Now()
		s.speak("jvb1", jitsiID, "aa", 1, 3*time.Second)
		s.stop()
		s.begin()
		time.Sleep(time.Minute)
		s.speak("jvb1", jitsiID, "cc", 2000, 2*time.Second)
		s.end(tracks)
		s.end(levels)
		s.want(tracks, meeting.RecordingAvailable)
		session := s.m.Session.Info()
		read := bridge.Sessions{
			Recordings: func(context.Context, meeting.RecordingFilter, string, int) ([]meeting.Recording, string, error) {
				return []meeting.Recording{s.recording(tracks), s.recording(levels)}, "", nil
			},
			Open: storage.Folder(s.dir).Open,
		}
		list, err := read.Speakers(t.Context(), session)
		if err != nil || len(list) != 2 || list[0].Name != "Ada" || list[1].ParticipantID != "" || list[1].EndpointID != "cc" || list[0].Share+list[1].Share != 1 {
			t.Fatalf("speakers %+v, %v, want Ada, and cc whom nobody knows", list, err)
		}
		if ada := list[0]; ada.SpeakingS < 2.9 || ada.SpeakingS > 3.1 || ada.Turns != 1 || ada.FirstAt.Sub(began).Abs() > 200*time.Millisecond {
			t.Errorf("Ada spoke as %+v, want 3 s from the beginning at %v", ada, began)
		}
		if late := list[1].FirstAt.Sub(began); late < time.Minute+3*time.Second || late > time.Minute+15*time.Second {
			t.Errorf("cc began after %v, want a minute later", late)
		}
		for format, want := range map[string]string{
			bridge.FormatJSONLines: `"name":"Ada","start_s":0`, bridge.FormatWebVTT: "<v Ada>", bridge.FormatRTTM: "SPEAKER " + session.ID + " 1 0.",
		} {
			var text strings.Builder
			if err := read.Timeline(t.Context(), session, format, &text); err != nil || !strings.Contains(text.String(), want) {
				t.Errorf("%s: %v, %s, want %q in it", format, err, &text, want)
			}
		}
		session.ID = "ses_other"
		if _, err := read.Speakers(t.Context(), session); !errors.Is(err, meeting.ErrNotFound) {
			t.Errorf("of another session: %v, want %v", err, meeting.ErrNotFound)
		}
	})
}

// TestSessionsOfTracksForAWhile: levels count where there are no tracks.
func TestSessionsOfTracksForAWhile(t *testing.T) {
	onSite(t, []string{"jvb1"}, func(s *recordedSite) {
		levels := s.record(meeting.ModeLevels)
		s.conference("jvb1", jitsiID)
		synctest.Wait()
		s.speak("jvb1", jitsiID, "aa", 1, 3*time.Second)
		time.Sleep(5 * time.Second)
		tracks := s.record(meeting.ModeTracks)
		synctest.Wait()
		time.Sleep(5 * time.Second)
		s.speak("jvb1", jitsiID, "aa", 1000, 2*time.Second)
		time.Sleep(5 * time.Second)
		s.end(tracks)
		time.Sleep(5 * time.Second)
		s.speak("jvb1", jitsiID, "aa", 2000, 3*time.Second)
		s.end(levels)
		s.want(levels, meeting.RecordingAvailable)
		read := bridge.Sessions{
			Recordings: func(context.Context, meeting.RecordingFilter, string, int) ([]meeting.Recording, string, error) {
				return []meeting.Recording{s.recording(tracks), s.recording(levels)}, "", nil
			},
			Open: storage.Folder(s.dir).Open,
		}
		list, err := read.Speakers(t.Context(), s.m.Session.Info())
		if err != nil || len(list) != 1 || list[0].SpeakingS < 7.8 || list[0].SpeakingS > 8.4 || list[0].Turns != 3 {
			t.Errorf("speakers %+v, %v, want Ada with 8 s in three turns", list, err)
		}
	})
}
