package stack

import "testing"

// TestPortsAreGivenOnce proves that servers which start at the same time are
// not given the same port before either listens.
func TestPortsAreGivenOnce(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 { // of 12,000: by chance alone some forty would come twice
		addr, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Fatalf("%s was given out twice", addr)
		}
		seen[addr] = true
	}
}
