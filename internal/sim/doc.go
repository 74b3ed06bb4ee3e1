// Package sim plays the people, the focus and the load of a Jitsi site,
// over real XMPP connections to a real Prosody. Tests, the demo and benchmarks
// use it; the product does not.
//
// It stands in for five programs:
//
//   - a [Person] for the web client (lib-jitsi-meet 01daa07c): an anonymous
//     login, with a token where one is given, the conference request, and the
//     presences seen on the wire of a real browser, into breakout rooms and back;
//   - the [Focus] for Jicofo (7ebb13d): it creates rooms on request, counts and
//     invites members, elects an owner, chooses Jibris and says what they record,
//     works off each room in order, and leaves when it is alone;
//   - a [Jibri] for the recorder (62369d5, XmppApi and FileRecordingJibriService): it
//     waits in the brewery, enters rooms as the recorder, writes files that are no
//     video and runs the hook;
//   - a [Bridge] for the video bridge (JVB a29d97d13, package export): it sends
//     the packets of microphones to a WebSocket service;
//   - a [Crowd] for thousands of web clients, on one component stream.
//
// What they leave out: media, but for what a Bridge sends; Jingle beyond the
// first offer and its answer; stream management (XEP-0198), so a dropped person is
// gone at once where a crashed browser stays for a minute; and visitors, of whom
// there is only the number that the focus says.
package sim
