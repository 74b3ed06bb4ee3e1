package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func newDurations(reg prometheus.Registerer) *prometheus.HistogramVec {
	return promauto.With(reg).NewHistogramVec(prometheus.HistogramOpts{
		Name: "usher_http_request_duration_seconds",
		Help: "Time from a request's header to the end of its answer.",
		// From a look into memory to RequestTimeout.
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "method", "code"})
}

// Results of Prosody's questions whether a room may open.
const (
	reservationGranted = "granted"
	reservationUnknown = "unknown_room"
	reservationOver    = "over"
	reservationEarly   = "not_open"
	reservationAway    = "unavailable" // usher does not lead, or has not loaded the meetings
	reservationInvalid = "invalid"     // no question that can be answered
	reservationToken   = "unauthorized"
)

func newReservationCount(reg prometheus.Registerer) *prometheus.CounterVec {
	return counted(reg, "usher_reservations_total", "Prosody's questions whether a room may open, by answer; unauthorized: with another token than USHER_RESERVATION_TOKEN.",
		reservationGranted, reservationUnknown, reservationOver, reservationEarly, reservationAway, reservationInvalid, reservationToken)
}

// linkFollowed is the result of a join link that let somebody in; of others it is
// the code of their page.
const linkFollowed = "followed"

func newLinkCount(reg prometheus.Registerer) *prometheus.CounterVec {
	results := []string{linkFollowed}
	for _, page := range []*joinPage{&unknownPage, &revokedPage, &endedPage, &removedPage, &earlyPage, &awayPage, &tooManyPage} {
		results = append(results, page.Code)
	}
	return counted(reg, "usher_join_links_total", "Join links that were opened, by what came of it.", results...)
}

// counted returns a counter by result, whose values exist from the start.
func counted(reg prometheus.Registerer, name, help string, results ...string) *prometheus.CounterVec {
	c := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
	for _, result := range results {
		c.WithLabelValues(result)
	}
	return c
}

// expect makes the series of a route's usual answer start at 0.
func (s *server) expect(route, method string, code int) {
	s.durations.WithLabelValues(route, method, strconv.Itoa(code))
}

// methods are those counted under their own name; anybody can invent more.
var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// observe counts a request under the pattern that it matched. What matched
// none counts as "none".
func (s *server) observe(pattern, method string, code int, took time.Duration) {
	_, route, found := strings.Cut(pattern, " ")
	if !found {
		route = "none"
	}
	if !slices.Contains(methods, method) {
		method = "other"
	}
	s.durations.WithLabelValues(route, method, strconv.Itoa(code)).Observe(took.Seconds())
}
