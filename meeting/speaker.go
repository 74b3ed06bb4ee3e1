package meeting

// SpeakerInfo is how much somebody spoke, as far as a recording from bridges says.
type SpeakerInfo struct {
	ParticipantID string  `json:"participant_id,omitempty" doc:"Missing where nobody knows whose voice it is"`
	EndpointID    string  `json:"endpoint_id,omitempty" doc:"Then their nick in the room"`
	UserID        string  `json:"user_id,omitempty"`
	Name          string  `json:"name,omitempty"`
	SpeakingS     float64 `json:"speaking_s" doc:"Seconds"`
	Turns         int     `json:"turns" doc:"How often they took the floor: with a pause of two seconds, or somebody else in between"`
	Share         float64 `json:"share" doc:"Of what all spoke, 0 to 1"`
	FirstAt       Time    `json:"first_at" doc:"When they began to speak first"`
	LastAt        Time    `json:"last_at" doc:"When they stopped last"`
}
