package child

import "testing"

// TestPortsAreGivenOnce proves that servers which start at the same time are
// not given the same port before either listens.
func TestPortsAreGivenOnce(t *testing.T) {
	seen := map[int]bool{}
	for range 1000 { // of 12,000: by chance alone some forty would come twice
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("%d was given out twice", port)
		}
		seen[port] = true
	}
}
