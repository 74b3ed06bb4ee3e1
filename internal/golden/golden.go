// Package golden holds what tests make against files of it.
package golden

import (
	"flag"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what tests make into their golden files; read the difference before you keep it")

// Compare fails the test unless the file holds exactly what the test has got. With
// the flag -rewrite of `go test` the file is written instead.
func Compare(t testing.TB, file, got string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil { //nolint:gosec // files of the repository
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; now it is\n%s", file, got)
	}
}
