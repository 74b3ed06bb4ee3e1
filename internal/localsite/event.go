package localsite

import (
	"cmp"
	"strings"

	"usher/meeting"
)

// Event is an event as it was recorded or delivered, read again.
type Event struct {
	meeting.Event
	Data struct {
		Participant *struct {
			ID         string             `json:"id"`
			Name       string             `json:"name"`
			Kind       meeting.Kind       `json:"kind"`
			Role       meeting.Role       `json:"role"`
			Host       bool               `json:"host"`
			LeftReason meeting.LeftReason `json:"left_reason"`
			LeftBy     *meeting.Remover   `json:"left_by"`
		} `json:"participant"`
		Changed   []string           `json:"changed"`
		Occupancy *meeting.Occupancy `json:"occupancy"`
	} `json:"data"`
}

// String returns what happened in a few words: "participant.left Ada kicked".
func (n Event) String() string {
	words := []string{string(n.Type)}
	if p := n.Data.Participant; p != nil {
		words = append(words, cmp.Or(p.Name, string(p.Kind)))
		if p.LeftReason != "" {
			words = append(words, string(p.LeftReason))
		}
	}
	return strings.Join(append(words, n.Data.Changed...), " ")
}
