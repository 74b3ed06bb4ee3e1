package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Limits of one address on join links. Behind one address may be a school
// whose classes begin at the same minute; a click costs less than a
// millisecond, and no code can be guessed at any pace.
const (
	DoorRate  = 50  // clicks per second in the long run
	DoorBurst = 500 // clicks at once
)

// clients tells the addresses of those who ask.
type clients struct {
	proxies []netip.Prefix // whose word on X-Forwarded-For is believed
}

// address returns where the request came from: for IPv6 the network, because
// each client has one to itself. Behind a trusted proxy it is the last address
// in X-Forwarded-For that is none of ours; those before it anybody can make up.
func (c clients) address(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	client := from.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil || !c.trusts(client) {
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

func (c clients) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}
