package sim

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// What a real web client says it can do, by hash (XEP-0115). Nobody who asks a
// simulated one for the list behind it compares the two.
const (
	webCapsNode = "https://jitsi.org/jitsi-meet"
	webCapsVer  = "dtzK/3xhISaXUMVg59IpXxdvKyQ="
)

// webPresence is the presence that a web client keeps and sends whole at every
// change, as lib-jitsi-meet's ChatRoom does: an element that is set again moves
// to the end.
type webPresence struct {
	nick     string
	sources  map[string]source
	elements []element
}

// source is one media source in SourceInfo. A video source without a type is
// a camera.
type source struct {
	Muted     bool   `json:"muted"`
	VideoType string `json:"videoType,omitempty"`
}

// newWebPresence returns the presence of somebody who has just opened the
// page: SourceInfo is empty at a join, muted or not.
func newWebPresence(nick, name string) *webPresence {
	w := &webPresence{nick: nick, sources: map[string]source{}}
	w.set(newElement("", "stats-id", "Ignatius-eyO"))
	w.set(newElement(nsCaps, "c", "", "hash", "sha-1",
		"node", webCapsNode, "ver", webCapsVer))
	w.setSources()
	w.set(newElement("", "jitsi_participant_codecList", "av1,vp9,vp8,h264"))
	w.setName(name)
	return w
}

func (w *webPresence) set(e element) {
	w.remove(e.XMLName.Local)
	w.elements = append(w.elements, e)
}

func (w *webPresence) remove(name string) {
	w.elements = slices.DeleteFunc(w.elements, func(e element) bool { return e.XMLName.Local == name })
}

// setName sets the display name; an empty one is no element at all.
func (w *webPresence) setName(name string) {
	w.remove("nick")
	if name != "" {
		w.set(newElement(nsNick, "nick", name))
	}
}

// setSource sets one of our sources: a0 audio, v0 camera, v1 screen.
func (w *webPresence) setSource(id string, s source) {
	w.sources[w.nick+"-"+id] = s
	w.setSources()
}

func (w *webPresence) setSources() {
	text, err := json.Marshal(w.sources)
	if err != nil {
		panic(err) // booleans and strings
	}
	w.set(newElement("", "SourceInfo", string(text)))
}

// raiseHand says since when the hand is up; lowering it removes the element.
func (w *webPresence) raiseHand(at time.Time) {
	w.set(newElement("", "jitsi_participant_raisedHand", strconv.FormatInt(at.UnixMilli(), 10)))
}

func (w *webPresence) lowerHand() { w.remove("jitsi_participant_raisedHand") }

// payload is what goes into the stanza; the first one of a stay, which enters
// the room, also carries the request to join.
func (w *webPresence) payload(join bool) []any {
	var list []any
	if join {
		list = append(list, mucJoin)
	}
	for _, e := range w.elements {
		list = append(list, e)
	}
	return list
}
