// Receiver takes usher's webhooks: it verifies them as Standard Webhooks 1.0.0
// says, leaves out what it has had already, and answers before it works.
//
//	WEBHOOK_SECRET=whsec_… go run . 127.0.0.1:8765
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tolerance = 5 * time.Minute // how far apart the clocks may be
	maxBody   = 1 << 20         // bytes
)

// verify reports whether the body was signed with the key, just now. It needs
// the bytes as they came: JSON that was decoded and encoded again is another.
func verify(key []byte, h http.Header, body []byte) bool {
	id, stamp := h.Get("Webhook-Id"), h.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || time.Since(time.Unix(seconds, 0)).Abs() > tolerance {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	want := []byte("v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	// While the secret changes there is a signature for each of the two.
	for got := range strings.FieldsSeq(h.Get("Webhook-Signature")) {
		if hmac.Equal([]byte(got), want) {
			return true
		}
	}
	return false
}

func main() {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(os.Getenv("WEBHOOK_SECRET"), "whsec_"))
	if err != nil || len(key) == 0 || len(os.Args) != 2 {
		log.Fatal("usage: WEBHOOK_SECRET=whsec_… receiver HOST:PORT")
	}
	var mu sync.Mutex
	seen := map[string]bool{} // in a real app a unique column in the database

	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, "too large, or cut off", http.StatusBadRequest)
			return
		}
		if !verify(key, r.Header, body) {
			http.Error(w, "wrong signature", http.StatusUnauthorized)
			return
		}
		var event struct {
			ID   string `json:"id"`
			Type string `json:"type"`
			Seq  int64  `json:"seq"`
			Gap  bool   `json:"gap"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			http.Error(w, "not an event", http.StatusUnprocessableEntity)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case seen[event.ID]:
			fmt.Println("again", event.ID)
		case event.Gap:
			fmt.Println("gap, read the meeting anew:", event.ID, event.Type, event.Seq)
		default:
			fmt.Println("event", event.ID, event.Type, event.Seq)
		}
		seen[event.ID] = true
		w.WriteHeader(http.StatusNoContent)
	}

	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	server := &http.Server{Handler: http.HandlerFunc(receive), ReadTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
