package main

import (
	"context"
	"os"
	"time"

	"usher/webhook"
)

const (
	jsonRuns = 3
	jsonFor  = time.Second // of CPU, in each run
	jsonStep = 1000        // bodies between two looks at the clock
)

// pythonJSON measures writing a webhook's body as Python writes it.
func (b *bench) pythonJSON(context.Context) (samples, error) {
	type person struct {
		ID        string `json:"id"`
		Name      string `json:"name"`
		Email     string `json:"email"`
		JoinedAt  int64  `json:"joined_at"`
		Moderator bool   `json:"moderator"`
		LeftAt    *int64 `json:"left_at"`
	}
	body := struct {
		ID     string    `json:"id"`
		Type   string    `json:"type"`
		People [5]person `json:"people"`
	}{ID: "evt_01M81B5MMTDZ52B06V6T8YRHX5", Type: "room.client.joined"}
	for i := range body.People {
		body.People[i] = person{ID: "prt_01M81B5MMTDZ52B06V6T8YRHX4", Name: "José <b>&😀", Email: "jose@example.org", JoinedAt: 1795341603, Moderator: true}
	}
	got := samples{}
	text, err := webhook.EncodePython(body)
	if err != nil {
		return nil, err
	}
	for range jsonRuns {
		begin, err := cpuTime(os.Getpid())
		if err != nil {
			return nil, err
		}
		n, used := 0, time.Duration(0)
		for used < jsonFor {
			for range jsonStep {
				_, _ = webhook.EncodePython(body) // it has just been encoded
			}
			n += jsonStep
			now, err := cpuTime(os.Getpid())
			if err != nil {
				return nil, err
			}
			used = now - begin
		}
		perBody := used.Seconds() * 1e6 / float64(n)
		got.add("python_json_us_per_kb", perBody*1000/float64(len(text)))
	}
	return got, nil
}
