package main

import (
	"context"
	"time"

	"usher/webhook"
)

const (
	jsonRuns = 3
	jsonFor  = time.Second // of each run
	jsonStep = 100         // bodies between two looks at the clock
)

// pythonJSON measures writing a webhook's body as Python writes it.
func (b *bench) pythonJSON(context.Context) (samples, error) {
	people := []any{}
	for range 5 {
		people = append(people, webhook.Object{
			{Key: "id", Value: "prt_01M81B5MMTDZ52B06V6T8YRHX4"}, {Key: "name", Value: "José <b>&😀"}, {Key: "email", Value: "jose@example.org"},
			{Key: "joined_at", Value: 1795341603}, {Key: "moderator", Value: true}, {Key: "left_at", Value: nil},
		})
	}
	body := webhook.Object{{Key: "id", Value: "evt_01M81B5MMTDZ52B06V6T8YRHX5"}, {Key: "type", Value: "room.client.joined"}, {Key: "people", Value: people}}
	got, buffer := samples{}, webhook.AppendPython(nil, body)
	for range jsonRuns {
		n, begin := 0, time.Now()
		for time.Since(begin) < jsonFor {
			for range jsonStep {
				buffer = webhook.AppendPython(buffer[:0], body)
			}
			n += jsonStep
		}
		perBody := time.Since(begin).Seconds() * 1e6 / float64(n)
		got.add("python_json_us_per_kb", perBody*1000/float64(len(buffer)))
	}
	return got, nil
}
