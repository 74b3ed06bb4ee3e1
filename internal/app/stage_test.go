package app

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// TestStages proves that a part which fails ends the run, that its error is the
// outcome, and that a stage goes on until it is ended.
func TestStages(t *testing.T) {
	running, fail := context.WithCancelCause(t.Context())
	var ended []string
	wait := func(name string) func(context.Context) error {
		return func(ctx context.Context) error {
			<-ctx.Done()
			ended = append(ended, name) // one stage at a time
			return nil
		}
	}
	broken := errors.New("broken")
	first, second := newStage(fail), newStage(fail)
	second.run(wait("second"))
	first.run(wait("first"))
	first.run(func(context.Context) error { return broken })
	<-running.Done()
	if cause := context.Cause(running); !errors.Is(cause, broken) {
		t.Errorf("the run ends because of %v, want %v", cause, broken)
	}
	if err := first.end(); !errors.Is(err, broken) {
		t.Errorf("the first stage ends with %v, want %v", err, broken)
	}
	if err := second.end(); err != nil {
		t.Errorf("the second stage ends with %v, want nil", err)
	}
	if want := []string{"first", "second"}; !slices.Equal(ended, want) {
		t.Errorf("parts ended in the order %q, want %q", ended, want)
	}
}
