package whereby

import (
	"fmt"
	"strings"
	"testing"
)

// TestDestinationDoesNotShow prints what holds an app's keys.
func TestDestinationDoesNotShow(t *testing.T) {
	d := destination{bucket: bucket{AccessKey: "AKIA-VISIBLE", SecretKey: "SK-VISIBLE"}}
	if text := fmt.Sprintf("%v %+v %#v %v %#v", d, &recordBody{Destination: &d}, d, &d, d.bucket); strings.Contains(text, "VISIBLE") {
		t.Errorf("printed as %s", text)
	}
}
