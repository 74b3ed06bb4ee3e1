package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"usher/internal/sleep"
	"usher/meeting"
)

// measure is deferred by what makes calls of Redis: it notes how long they took
// and wraps their error in [meeting.ErrUnavailable] if it may pass when tried
// again.
func (r *Redis) measure(op string, start time.Time, err *error) {
	if redis.HasErrorPrefix(*err, resetCode) {
		*err = errReset
	}
	r.metrics.seconds[op].Observe(time.Since(start).Seconds())
	*err = r.fault(op, *err)
}

// fault counts the error of a call and says whether it may pass.
func (r *Redis) fault(op string, err error) error {
	if err == nil || errors.Is(err, meeting.ErrNotFound) {
		return err
	}
	if errors.Is(err, errReset) {
		r.suspect()
	}
	reason, passes := judge(err)
	r.metrics.errors[reason].Inc()
	if reason == reasonOOM {
		r.full.Store(time.Now().Unix())
	}
	if passes {
		return fmt.Errorf("store: %s: %w: %w", op, meeting.ErrUnavailable, err)
	}
	return fmt.Errorf("store: %s: %w", op, err)
}

// suspect has a leader look at once whether the store has lost something.
func (r *Redis) suspect() { sleep.Wake(r.wake) }

// wrongType reports whether a key holds something else than this program puts
// there.
func wrongType(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "WRONGTYPE ")
}

// judge says why a call failed, and whether that may pass.
//
// A connection on which Redis answered READONLY is closed by go-redis, so the
// next try dials anew and may reach the server that writes by now.
func judge(err error) (reason string, passes bool) {
	var network net.Error
	var reply redis.Error
	switch {
	case errors.Is(err, meeting.ErrFenced):
		return reasonFenced, false
	case errors.Is(err, errReset):
		return reasonOther, true
	case errors.Is(err, errUnreadable):
		return reasonUnreadable, false
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, redis.ErrPoolTimeout),
		errors.As(err, &network) && network.Timeout():
		return reasonTimeout, true
	case errors.Is(err, context.Canceled): // the caller has given up
		return reasonOther, true
	case !errors.As(err, &reply):
		return reasonConn, true
	}
	text := strings.TrimPrefix(reply.Error(), "ERR ")
	switch code, _, _ := strings.Cut(text, " "); code {
	case "OOM":
		return reasonOOM, true
	case "READONLY":
		return reasonReadOnly, true
	case "max": // number of clients reached
		return reasonConn, true
	case "LOADING", "BUSY", "MISCONF", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK":
		return reasonOther, true
	case "NOAUTH", "WRONGPASS", "NOPERM": // until a person has mended the account
		return reasonOther, true
	}
	return reasonOther, false
}
