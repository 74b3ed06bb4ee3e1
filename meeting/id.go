package meeting

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// Seed is the randomness that an event brings along for the ids it gives rise
// to: Apply itself draws none, so that a retry makes the same ids again.
type Seed [10]byte

// NewSeed returns one that nobody else has, for whoever hands an event over or
// needs an id of its own.
func NewSeed() (s Seed) {
	_, _ = rand.Read(s[:]) // never fails (crypto/rand)
	return s
}

// crockford is the alphabet of ULIDs (github.com/ulid/spec).
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewID returns prefix followed by a ULID of the given time, such as
// mtg_01JDB2W8Z3W5V6S0Q5M2T8K4AR. n tells apart the ids made from one seed;
// they sort in the order of n.
func NewID(prefix string, at time.Time, seed Seed, n int) string {
	// 48 bits of milliseconds and 80 bits of seed are 26 characters once the
	// value is padded on the left to a multiple of 40 bits, base32's block.
	var b [20]byte
	ms := uint64(at.UnixMilli())
	for i := range 6 {
		b[4+i] = byte(ms >> (40 - 8*i))
	}
	copy(b[10:], seed[:])
	for i, carry := len(b)-1, n; carry > 0 && i >= 10; i-- {
		carry += int(b[i])
		b[i] = byte(carry)
		carry >>= 8
	}
	return prefix + crockford.EncodeToString(b[:])[6:]
}

// FirstID returns what sorts before all ids with the prefix of the given time, and
// behind all earlier ones.
func FirstID(prefix string, at time.Time) string {
	return NewID(prefix, at, Seed{}, 0)
}

// IDTime returns the time in an id that NewID made with the prefix; false when it
// is no such id.
func IDTime(prefix, id string) (time.Time, bool) {
	ulid, ok := strings.CutPrefix(id, prefix)
	if !ok || len(ulid) != 26 {
		return time.Time{}, false
	}
	b, err := crockford.DecodeString("000000" + ulid)
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b[2:]) & (1<<48 - 1))), true
}
