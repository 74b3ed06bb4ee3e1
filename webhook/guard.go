package webhook

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// guard keeps deliveries from reaching what only this machine or its network
// can reach (server-side request forgery). It judges the address that is about
// to be dialled: what a name resolved to earlier proves nothing.
type guard struct {
	allowed []netip.Prefix // private receivers
}

// blockedError says why the guard refuses an address.
type blockedError string

func (e blockedError) Error() string { return string(e) }

// Why an address is refused.
const (
	errPrivate = blockedError("address that is not on the public internet, nor in a network of USHER_WEBHOOK_ALLOW")
	errPlain   = blockedError("address that takes https only")
	errPort    = blockedError("address with a port below 1024 other than 80 and 443")
)

// public is what of IPv6 is given out to networks (RFC 4291 section 2.4, IANA).
// What lies outside is of this machine or network, reserved, or stands for an IPv4
// address: as IPv4-compatible, IPv4-translated, or NAT64 of the local network.
var public = netip.MustParsePrefix("2000::/3")

// private are the other addresses that are not on the public internet, or that
// stand for others which may not be (IANA special-purpose address registries),
// besides those that package netip knows.
var private = prefixes(
	"0.0.0.0/8",       // this network; Linux takes it for this machine
	"100.64.0.0/10",   // carrier-grade NAT, and some clouds' metadata
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation
	"192.88.99.0/24",  // 6to4 relays
	"198.18.0.0/15",   // benchmarks
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved, and broadcast
	"2001::/23",       // protocol assignments, Teredo among them
	"2001:db8::/32",   // documentation
	"3fff::/20",       // documentation
)

// Prefixes whose addresses carry an IPv4 address, which is judged as well.
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixto4 = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// check returns why an address may not be dialled, or nil. plain says that the
// request would go over http.
func (g *guard) check(at netip.AddrPort, plain bool) error {
	addr := at.Addr().Unmap().WithZone("")
	if contains(g.allowed, addr) {
		return nil
	}
	if addr.Is6() && !public.Contains(addr) && !nat64.Contains(addr) {
		return errPrivate
	}
	for _, a := range []netip.Addr{addr, embedded(addr)} {
		// Not global are this machine, link-local, where clouds' metadata is, and
		// multicast.
		if !a.IsGlobalUnicast() || a.IsPrivate() || contains(private, a) {
			return errPrivate
		}
	}
	if plain {
		return errPlain
	}
	if p := at.Port(); p < 1024 && p != 80 && p != 443 {
		return errPort
	}
	return nil
}

// embedded returns the IPv4 address that an IPv6 one stands for, or the address
// itself.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	switch {
	case nat64.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case sixto4.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6]))
	case b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP, in any prefix (RFC 5214)
		return netip.AddrFrom4([4]byte(b[12:16]))
	}
	return addr
}

func contains(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// control is for net.Dialer: it runs after the name was resolved and before
// the connection is made.
func (g *guard) control(plain bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err == nil {
			err = g.check(at, plain)
		}
		if err != nil {
			return fmt.Errorf("%s is an %w", address, err)
		}
		return nil
	}
}
