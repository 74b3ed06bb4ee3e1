package api

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestUnreadBodyIsNoRequest: of a body that is answered before it is read to its end,
// nothing is taken for a request (RFC 9112 section 9.6).
func TestUnreadBodyIsNoRequest(t *testing.T) {
	const inside = "GET /inside HTTP/1.1\r\nHost: x\r\n\r\n"
	addr := newSite(t).listen(t, func(*http.Server) {})
	key, token := "Authorization: Bearer "+testKey+"\r\n", "Authorization: Bearer "+testToken+"\r\n"
	for _, tt := range []struct {
		head string
		long int // the status if the body is over MaxBody
	}{
		{"GET /openapi.json HTTP/1.1\r\n", 200},
		{"POST /none/x HTTP/1.1\r\n", 404},
		{"POST /openapi.json HTTP/1.1\r\n", 405},
		{"POST /v1/meetings HTTP/1.1\r\n", 401},
		{"POST /v1/meetings?a=b HTTP/1.1\r\n" + key, 422},
		{"POST /v1/meetings HTTP/1.1\r\n" + key, 413},
		{"POST /v1/meetings HTTP/1.1\r\nIdempotency-Key: a\r\n" + key, 413},
		{"POST /internal/jibri/recordings HTTP/1.1\r\n", 413},
		{"POST /reservations/conference HTTP/1.1\r\n" + token, 413},
	} {
		for _, size := range []int{10, 300 << 10, MaxBody, 2 * MaxBody} {
			for _, chunked := range []bool{false, true} {
				body := strings.Repeat(inside, size/len(inside)+1)
				request := tt.head + "Host: x\r\n"
				if chunked {
					request += "Transfer-Encoding: chunked\r\n\r\n" + strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n0\r\n\r\n"
				} else {
					request += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
				}
				got := answers(t, addr, request+"DELETE /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				line, _, _ := strings.Cut(tt.head, "\r\n")
				if len(got) == 0 || len(got) > 2 || len(got) == 2 && got[1] != 405 || size > MaxBody && got[0] != tt.long {
					t.Errorf("%s with %d bytes (chunked %v) is answered %v, want %d and at most what follows the body, with 405", line, size, chunked, got, tt.long)
				}
			}
		}
	}
}

// TestBodyThatIsNotSentYet: who waits to be asked for the body of a request that is
// refused has the answer at once (RFC 9110 section 10.1.1).
func TestBodyThatIsNotSentYet(t *testing.T) {
	addr := newSite(t).listen(t, func(*http.Server) {})
	want := "HTTP/1.1 401 Unauthorized"
	if got := talk(t, addr, "POST /v1/meetings HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"); got != want {
		t.Errorf("answer = %q, want %q", got, want)
	}
}

// answers sends raw bytes and returns the statuses of all answers until the
// connection ends.
func answers(t *testing.T, addr, request string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(conn, request) }() // ends with the connection
	for in := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return statuses // closed, or reset because something was not read
		}
		statuses = append(statuses, resp.StatusCode)
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
