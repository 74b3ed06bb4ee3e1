package localsite

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"usher/api"
)

// WherebyInbox is a webhook receiver: it verifies deliveries as an app does that was
// written for Whereby, and keeps what they say of some rooms.
type WherebyInbox struct {
	Rooms string // begins the names of the rooms, after the slash

	mu     sync.Mutex
	secret string
	told   []string
	wrong  error
}

// Subscribe makes an endpoint over the API, at the URL where the inbox already is.
func (b *WherebyInbox) Subscribe(ctx context.Context, site *Site, name, url string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var made api.Webhook
	err := site.Call(ctx, http.MethodPost, "/v1/webhooks", map[string]any{"url": url, "name": name, "dialect": "whereby"}, &made)
	b.secret = made.Secret
	return err
}

// ServeHTTP answers 204 to what verifies and 401 to what does not.
func (b *WherebyInbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxBody))
	stamp, got, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Whereby-Signature"), "t="), ",v1=")
	b.mu.Lock()
	defer b.mu.Unlock()
	mac := hmac.New(sha256.New, []byte(b.secret))
	_, _ = mac.Write([]byte(stamp + "."))
	_, _ = mac.Write(body)
	switch {
	case err != nil || !ok || !hmac.Equal([]byte(got), []byte(hex.EncodeToString(mac.Sum(nil)))):
		b.wrong = errors.New("a Whereby webhook does not verify")
	default:
		b.wrong = b.take(body)
	}
	if b.wrong != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// take notes an event in a few words:
// "room.client.joined host numClients=42 [host:1 viewer:40 visitor:1]".
func (b *WherebyInbox) take(body []byte) error {
	var event struct {
		Type string
		Data struct {
			RoomName, RoleName   string
			IsDialIn             bool
			NumClients           *int
			NumClientsByRoleName map[string]int
		}
	}
	if err := json.Unmarshal(body, &event); err != nil || !strings.HasPrefix(event.Data.RoomName, "/"+b.Rooms) {
		return err
	}
	text := event.Type
	if n := event.Data.NumClients; n != nil {
		role := event.Data.RoleName
		if event.Data.IsDialIn {
			role = "phone"
		}
		text += fmt.Sprintf(" %s numClients=%d %s", role, *n, strings.TrimPrefix(fmt.Sprint(event.Data.NumClientsByRoleName), "map"))
	}
	b.told = append(b.told, text)
	return nil
}

// Told returns what the app was told so far, or that something did not verify.
func (b *WherebyInbox) Told() ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.told), b.wrong
}
