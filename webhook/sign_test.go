package webhook

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	independent "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"usher/config"
	"usher/internal/memorystore"
)

// TestVerified lets the library of Standard Webhooks verify what is delivered,
// before and after the secret was changed, with the old and the new one.
func TestVerified(t *testing.T) {
	type delivery struct {
		header http.Header
		body   []byte
	}
	got := make(chan delivery, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- delivery{r.Header, body}
	}))
	defer srv.Close()
	st := new(memorystore.Memory)
	registry, err := NewRegistry(Config{Store: st, AllowCIDRs: loopback})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	e, err := registry.Create(ctx, Endpoint{Name: "app", URL: srv.URL + "/hook?x=1"})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDeliverer(registry)
	defer lead(t, d)()

	seq := 0
	deliver := func() delivery {
		t.Helper()
		seq++
		commit(t, d, e.ID, "mtg_a", joinedEvent("mtg_a", seq))
		select {
		case x := <-got:
			return x
		case <-time.After(patience):
			t.Fatal("nothing was delivered")
			return delivery{}
		}
	}
	verify := func(x delivery, s Secret) error {
		t.Helper()
		w, err := independent.NewWebhook(string(s.Key))
		if err != nil {
			t.Fatal(err)
		}
		return w.Verify(x.body, x.header)
	}

	x := deliver()
	if err := verify(x, e.Secrets[0]); err != nil {
		t.Errorf("first secret: %v", err)
	}
	if got, want := x.header.Get("Content-Type"), "application/json"; got != want {
		t.Errorf("content type = %q, want %q", got, want)
	}
	if got := x.header.Get("User-Agent"); got != UserAgent {
		t.Errorf("user agent = %q, want %q", got, UserAgent)
	}
	for name := range x.header {
		if strings.Contains(name, "Idempotency") {
			t.Errorf("header %s was sent", name)
		}
	}
	rotated, err := registry.Rotate(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	x = deliver()
	for i, s := range rotated.Secrets {
		if err := verify(x, s); err != nil {
			t.Errorf("secret %d after the change: %v", i, err)
		}
	}
	if rotated.Secrets[0].Key == e.Secrets[0].Key || rotated.Secrets[1].Key != e.Secrets[0].Key {
		t.Errorf("the old secret is not the second one")
	}
	if err := verify(x, NewSecret()); err == nil {
		t.Error("a secret that is not ours verifies")
	}
	again, err := registry.Rotate(ctx, e.ID)
	if err != nil {
		t.Fatal(err)
	}
	x = deliver()
	if len(again.Secrets) != 2 || verify(x, again.Secrets[1]) != nil || verify(x, e.Secrets[0]) == nil {
		t.Errorf("%d secrets after the second change, want the two last ones", len(again.Secrets))
	}
	newest, _ := again.Secrets[0].bytes()
	if live := again.keys(time.Now().Add(RotationOverlap + time.Second)); len(live) != 1 || !bytes.Equal(live[0], newest) {
		t.Errorf("%d secrets are live after the overlap, want the new one", len(live))
	}
	a, err := d.Test(ctx, e.ID)
	if err != nil || a.Status != 200 || a.EventType != TypeTest {
		t.Errorf("test = %+v, %v; want 200", a, err)
	}
	if err := verify(<-got, again.Secrets[0]); err != nil {
		t.Errorf("test: %v", err)
	}
}

// TestSignature is the example that the documentation of Standard Webhooks and
// its libraries share.
func TestSignature(t *testing.T) {
	key, err := Secret{Key: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}.bytes()
	h := http.Header{}
	signStandard(h, [][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	got := h.Get("Webhook-Signature")
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("signature = %s, %v; want %s", got, err, want)
	}
}

func TestSecrets(t *testing.T) {
	of := func(n int) config.Secret {
		return config.Secret("whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), n)))
	}
	for _, key := range []config.Secret{"", "whsec_", "whsec_%%%", of(23), of(65), of(32)[len("whsec_"):]} {
		if _, err := (Secret{Key: key}).bytes(); err == nil {
			t.Errorf("secret %q is taken", string(key))
		}
	}
	for _, n := range []int{24, 32, 64} {
		if _, err := (Secret{Key: of(n)}).bytes(); err != nil {
			t.Errorf("secret of %d bytes: %v", n, err)
		}
	}
	e := Endpoint{ID: "whk_1", Secrets: []Secret{{Key: of(32)}}, URL: "https://app.example/" + hiddenPart}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "endpoint", e, "secrets", e.Secrets)
	text := log.String() + fmt.Sprint(e.Secrets)
	if strings.Contains(text, string(of(32))) || strings.Contains(log.String(), hiddenPart) {
		t.Errorf("a secret shows: %s", text)
	}
}

func TestGapIsLast(t *testing.T) {
	m := &delivery{event: readEvent([]byte(`{"id":"evt_1","type":"x","data":{}}`)), gap: true}
	if got, want := string(m.standard()), `{"id":"evt_1","type":"x","data":{},"gap":true}`; got != want {
		t.Errorf("body = %s, want %s", got, want)
	}
	if string(m.event.text) != `{"id":"evt_1","type":"x","data":{}}` {
		t.Errorf("the event was changed to %s", m.event.text)
	}
}
