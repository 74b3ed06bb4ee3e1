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
