package token

import (
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"strconv"
	"time"
)

// Headers of a signed call from a recorder's host to usher.
const (
	CallbackRecorder  = "X-Usher-Recorder"  // whose secret signed it
	CallbackTimestamp = "X-Usher-Timestamp" // Unix time, seconds
	CallbackSignature = "X-Usher-Signature" // hex
)

// callbackWindow is how far the clocks of usher and of a recorder's host may
// differ. A call that is repeated within it changes nothing.
const callbackWindow = 5 * time.Minute

// Errors of [VerifyCallback].
var (
	ErrCallbackTime      = errors.New("the timestamp is missing or more than 5 minutes off: check the clocks of both hosts")
	ErrCallbackSignature = errors.New("the signature is wrong: check the recorder's secret on both hosts")
)

// SignCallback returns the timestamp and the signature of a call's body: the
// hexadecimal HMAC-SHA256 (RFC 2104) over recorder, timestamp and body, with a
// line feed between them.
func SignCallback(secret, recorder string, at time.Time, body []byte) (timestamp, signature string) {
	timestamp = strconv.FormatInt(at.Unix(), 10)
	return timestamp, hex.EncodeToString(callbackMAC(secret, recorder, timestamp, body))
}

// VerifyCallback checks what [SignCallback] made, in constant time.
func VerifyCallback(secret, recorder, timestamp, signature string, body []byte, now time.Time) error {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > callbackWindow {
		return ErrCallbackTime
	}
	given, err := hex.DecodeString(signature)
	if err != nil || secret == "" || !hmac.Equal(given, callbackMAC(secret, recorder, timestamp, body)) {
		return ErrCallbackSignature
	}
	return nil
}

func callbackMAC(secret, recorder, timestamp string, body []byte) []byte {
	return MAC([]byte(secret), recorder+"\n"+timestamp+"\n", body)
}
