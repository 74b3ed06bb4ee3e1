package sim

import (
	"context"
	"testing"
	"time"

	"usher/internal/stack"
	"usher/internal/stack/stacktest"
)

// patience bounds one step against real servers. It only says when to give up.
const patience = 20 * time.Second

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func startSite(t testing.TB, cfg stack.ProsodyConfig) Site {
	t.Helper()
	p := stacktest.Prosody(t, cfg)
	return Site{
		Domain: stack.Domain, ClientAddr: p.ClientAddr, ComponentAddr: p.ComponentAddr, CAFile: p.CAFile,
	}
}

// startFocus runs a focus for the test; its fields that edit leaves alone are
// the stack's.
func startFocus(t testing.TB, site Site, edit func(*FocusConfig)) *Focus {
	t.Helper()
	cfg := FocusConfig{Site: site, Password: stack.Focus.Password, Secret: stack.FocusSecret}
	if edit != nil {
		edit(&cfg)
	}
	f, err := NewFocus(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("focus ended: %v", err)
		}
	})
	if err := f.WaitUp(within(t)); err != nil {
		t.Fatal(err)
	}
	return f
}

// visit makes somebody who is gone at the end of the test, and in the room if
// join is set.
func visit(t testing.TB, site Site, room, name string, join bool) *Person {
	t.Helper()
	p := NewPerson(site, room, name, "")
	t.Cleanup(p.Drop)
	if join {
		must(t, p.Join(within(t)))
	}
	return p
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t testing.TB, p *Person, ok func(Occupants) bool) {
	t.Helper()
	must(t, p.WaitFor(within(t), ok))
}
