// Package bridge records each person of a meeting on their own: it is the
// WebSocket service to which a Jitsi video bridge (JVB) sends everybody's Opus
// packets, without a browser and without decoding or encoding sound.
//
// # What it keeps
//
// A [Part] is a stretch of one recording of one meeting, with a folder of its
// own: one Ogg Opus file per person, and manifest.json, which says who is in
// which file and who spoke when. All files of a part begin at the same moment,
// [Manifest.Start]; what a person did not send is silence in their file, so the same
// position is the same moment in all of them, to 50 ms. Without a folder only
// the speaking times are kept, and no sound.
//
//   - A person has one file with all their connections. They have another one only
//     while they send from two microphones at once.
//   - A crash costs at most one second of sound. It is two seconds of somebody
//     whose microphone has just begun to send, for the first time or after half a
//     minute: where these belong is not known before. The files stay readable.
//     Nothing is synced to disk before the end, so a loss of power costs what the
//     kernel had not written yet.
//   - While the disk is full, sound is lost, and silence takes its place in the
//     files once there is room.
//   - What is encrypted from end to end is noise to everybody else: of such
//     people only the speaking times are kept, and their track says so.
//
// # What it demands of a bridge
//
// The protocol is that of jitsi-videobridge's package export, as seen on the
// wire in August 2026 (org.jitsi.mediajson). Each part has a URL with a token of
// its own, see [Part.Path]; whoever does not know it gets 404. Messages that
// cannot be read are counted and left alone, and no message ends a recording.
// All that a bridge can make a part keep in memory is bounded.
//
// A bridge is sent nothing but answers to its pings, a tenth of a second late,
// because it takes faster ones for wrong. While the part is open a socket is
// ended only if it is dead or sends a message of more than 64 kB: the bridge would
// connect again, and lose what is said meanwhile.
package bridge
