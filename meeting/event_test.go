package meeting

import (
	"testing"
	"time"
)

// TestTimeJSON compares the text of times with that of their layout.
func TestTimeJSON(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(2026, 11, 29, 14, 5, 9, 0, time.UTC),
		time.Date(2026, 1, 2, 3, 4, 5, 67_999_999, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 120_000_000, time.UTC),
		time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", -9*3600-1800)),
	} {
		want := at.UTC().Format(`"2006-01-02T15:04:05.000Z"`)
		if got, err := (Time{at}).MarshalJSON(); string(got) != want || err != nil {
			t.Errorf("JSON of %v = %s, %v; want %s", at, got, err, want)
		}
	}
	if got, err := (Time{}).MarshalJSON(); string(got) != "null" || err != nil {
		t.Errorf("JSON of the zero time = %s, %v; want null", got, err)
	}
}
