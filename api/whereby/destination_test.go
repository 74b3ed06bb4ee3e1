package whereby

import (
	"fmt"
	"strings"
	"testing"
)

// TestDestinationDoesNotShow prints what holds an app's keys.
func TestDestinationDoesNotShow(t *testing.T) {
	d := destination{AccessKeyID: "AKIA-VISIBLE", AccessKeySecret: "SK-VISIBLE"}
	if text := fmt.Sprintf("%v %+v %#v %v", d, &recordBody{Destination: &d}, d, &d); strings.Contains(text, "VISIBLE") {
		t.Errorf("printed as %s", text)
	}
}
