package sim

import "encoding/xml"

// jibriIQ is what clients ask the focus, and what the focus and its Jibris say
// to each other (jitsi-xmpp-extensions, JibriIq).
type jibriIQ struct {
	XMLName xml.Name `xml:"http://jitsi.org/protocol/jibri jibri"`
	Action  string   `xml:"action,attr,omitempty"` // start or stop
	Mode    string   `xml:"recording_mode,attr,omitempty"`
	Room    string   `xml:"room,attr,omitempty"`
	Session string   `xml:"session_id,attr,omitempty"`
	AppData string   `xml:"app_data,attr,omitempty"`
	Stream  string   `xml:"streamid,attr,omitempty"`
	Status  string   `xml:"status,attr,omitempty"` // pending, on or off
	Failure string   `xml:"failure_reason,attr,omitempty"`
	Retry   string   `xml:"should_retry,attr,omitempty"`
}

// recordingStatus is in the focus's presence (RecordingStatus).
type recordingStatus struct {
	XMLName   xml.Name `xml:"http://jitsi.org/protocol/jibri jibri-recording-status"`
	Status    string   `xml:"status,attr"`
	Session   string   `xml:"session_id,attr"`
	Mode      string   `xml:"recording_mode,attr"`
	Failure   string   `xml:"failure_reason,attr,omitempty"`
	Initiator string   `xml:"initiator,attr,omitempty"` // occupant address
}

// jibriStatus is a Jibri's presence in the brewery (JibriStatusPacketExt).
type jibriStatus struct {
	XMLName xml.Name     `xml:"http://jitsi.org/protocol/jibri jibri-status"`
	Busy    busyStatus   `xml:"http://jitsi.org/protocol/jibri busy-status"`
	Health  healthStatus `xml:"http://jitsi.org/protocol/health health-status"`
}

type busyStatus struct {
	Status string `xml:"status,attr"`
}

type healthStatus struct {
	Status string `xml:"status,attr"`
}

// breweryPresence is what the focus reads of an occupant of the brewery.
type breweryPresence struct {
	occupantPresence
	Jibri *jibriStatus `xml:"http://jitsi.org/protocol/jibri jibri-status"`
}
