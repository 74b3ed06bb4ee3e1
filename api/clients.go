package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Limits of one address on join links and files. Behind one address may be a
// school whose classes begin at the same minute; a click costs less than a
// millisecond, and no code can be guessed at any pace.
const (
	AddressRate  = 50  // requests per second in the long run
	AddressBurst = 500 // requests at once
)

// addressLimits hold one limit for each client's address.
type addressLimits struct {
	limiters
	proxies []netip.Prefix // whose word on X-Forwarded-For is believed
}

// allow counts a request and reports whether it may pass.
func (l *addressLimits) allow(w http.ResponseWriter, r *http.Request) bool {
	return l.take(w, l.address(r))
}

// address returns where the request came from: for IPv6 the network, because
// each client has one to itself. Behind a trusted proxy it is the last address
// in X-Forwarded-For that is none of ours; those before it anybody can make up.
func (l *addressLimits) address(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	client := from.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil || !slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(client) }) {
			break
		}
		client = next.Unmap()
	}
	if client.Is6() {
		network, _ := client.WithZone("").Prefix(64) // fits every IPv6 address
		return network.String()
	}
	return client.String()
}
