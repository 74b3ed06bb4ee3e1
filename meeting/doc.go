// Package meeting is usher's domain: meetings, the sessions in them, the people
// in a session, their recordings, and the rules by which all these change. It
// does no I/O, reads no clock, starts no goroutine and knows no format of
// anybody else's.
//
// # Input and output
//
// [Apply] is a function: a [Meeting] and a [TimedInput] give the next Meeting and its
// [Effects]. A TimedInput is an [Input] with the time at which it holds and a [Seed]
// for the ids that it makes, so the same input gives the same result however
// often it is tried. Inputs come from four sides:
//
//   - from the room, by package muc: who is seen ([Seen], [Gone], [NickChanged]),
//     everybody at once ([Roster]), what the focus says ([FocusSaid]), and that
//     the room cannot be seen ([SightLost]) or is gone ([RoomGone]);
//   - from recorders, by packages jibri and api: what came of asking the focus,
//     and what became of a file ([RecordingInput]);
//   - from apps, by package api: meetings made, changed and ended, people put out,
//     recordings asked for;
//   - from the clock: [Tick], at or after [Meeting.Deadline].
//
// An input that is not wanted any more, or that contradicts what is stored, is an
// error, and the meeting stays as it was.
//
// # What is stored before what is sent
//
// Whoever calls Apply must store the result, as a [Commit], before anything of
// it is seen outside: an answer to an app, a stanza, an event. If the commit
// fails, the result is dropped and the input is tried again. An [Event] of the
// Effects is part of the commit; it is what apps are sent.
//
// Nothing else is handed over. What is to be done follows from the meeting as it
// is stored: whether usher is to be in the room ([Meeting.DesiredState]), whom to kick
// ([Meeting.ToKick]), which recording to start and to stop ([Meeting.ToStart],
// [Meeting.ToStop]). So a process that was killed after a commit does the same
// when it has loaded the meeting again.
//
// # Who may call what
//
// All functions may be called at any time from any goroutine: a Meeting is a
// value, and Apply leaves the one that it is given alone. But of two results of
// one meeting only one can be stored, so each meeting has one writer at a time,
// its queue in package meeting/tracker. Store refuses the other
// ([ConflictError]), and what comes from a process that does not lead any more
// ([ErrFenced]).
package meeting
