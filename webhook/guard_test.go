package webhook

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	tests := []struct {
		at   string
		want error
	}{
		{"93.184.215.14:443", nil},
		{"93.184.215.14:80", nil},
		{"93.184.215.14:8443", nil},
		{"93.184.215.14:25", errPort},
		{"[2606:2800:21f:cb07::1]:443", nil},

		{"0.0.0.0:443", errPrivate},
		{"0.1.2.3:443", errPrivate},
		{"10.1.2.3:443", errPrivate},
		{"100.64.0.1:443", errPrivate},
		{"100.100.100.200:443", errPrivate}, // metadata of a cloud
		{"127.0.0.1:443", errPrivate},
		{"127.255.0.1:443", errPrivate},
		{"169.254.169.254:80", errPrivate}, // metadata of most clouds
		{"172.16.0.1:443", errPrivate},
		{"172.31.255.255:443", errPrivate},
		{"172.32.0.1:443", nil},
		{"192.0.0.1:443", errPrivate},
		{"192.0.2.1:443", errPrivate},
		{"192.88.99.1:443", errPrivate},
		{"192.168.1.1:443", errPrivate},
		{"198.18.0.1:443", errPrivate},
		{"198.19.255.255:443", errPrivate},
		{"198.51.100.1:443", errPrivate},
		{"203.0.113.1:443", errPrivate},
		{"224.0.0.1:443", errPrivate},
		{"240.0.0.1:443", errPrivate},
		{"255.255.255.255:443", errPrivate},

		{"[::]:443", errPrivate},
		{"[::1]:443", errPrivate},
		{"[::7f00:1]:443", errPrivate},         // IPv4-compatible
		{"[::ffff:127.0.0.1]:443", errPrivate}, // IPv4-mapped
		{"[::ffff:93.184.215.14]:443", nil},
		{"[64:ff9b::7f00:1]:443", errPrivate},   // NAT64 of 127.0.0.1
		{"[64:ff9b::a9fe:a9fe]:80", errPrivate}, // NAT64 of 169.254.169.254
		{"[64:ff9b::5db8:d70e]:443", nil},       // NAT64 of 93.184.215.14
		{"[64:ff9b:1::1]:443", errPrivate},
		{"[64:ff9b:1::5db8:d70e]:443", errPrivate},        // NAT64 of the local network
		{"[::ffff:0:7f00:1]:443", errPrivate},             // IPv4-translated 127.0.0.1
		{"[::ffff:0:5db8:d70e]:443", errPrivate},          // IPv4-translated, only within a network
		{"[::5db8:d70e]:443", errPrivate},                 // IPv4-compatible
		{"[2001:0:5db8:d70e::f5ff:fffe]:443", errPrivate}, // Teredo of 10.0.0.1
		{"[2606:2800:21f::5efe:a00:1]:443", errPrivate},   // ISATAP of 10.0.0.1
		{"[2606:2800:21f:0:200:5efe:a9fe:a9fe]:443", errPrivate},
		{"[2606:2800:21f::5efe:5db8:d70e]:443", nil}, // ISATAP of 93.184.215.14
		{"[1::1]:443", errPrivate},                   // reserved
		{"[4000::1]:443", errPrivate},
		{"[100::1]:443", errPrivate},
		{"[2001::1]:443", errPrivate}, // Teredo
		{"[2001:db8::1]:443", errPrivate},
		{"[2002:7f00:1::1]:443", errPrivate},    // 6to4 of 127.0.0.1
		{"[2002:c0a8:101::1]:443", errPrivate},  // 6to4 of 192.168.1.1
		{"[2002:a9fe:a9fe::1]:443", errPrivate}, // 6to4 of 169.254.169.254
		{"[2002:5db8:d70e::1]:443", nil},        // 6to4 of 93.184.215.14
		{"[3fff::1]:443", errPrivate},
		{"[5f00::1]:443", errPrivate},
		{"[fd00::1]:443", errPrivate},
		{"[fd00:ec2::254]:443", errPrivate}, // metadata of a cloud
		{"[fe80::1%eth0]:443", errPrivate},
		{"[fec0::1]:443", errPrivate},
		{"[ff02::1]:443", errPrivate},
	}
	g := &guard{}
	for _, tt := range tests {
		if got := g.check(netip.MustParseAddrPort(tt.at), false); !errors.Is(got, tt.want) {
			t.Errorf("check(%s) = %v, want %v", tt.at, got, tt.want)
		}
	}
}

func TestGuardAllows(t *testing.T) {
	g := &guard{allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}
	tests := []struct {
		at    string
		plain bool
		want  error
	}{
		{"10.1.2.3:443", false, nil},
		{"10.1.2.3:80", true, nil},
		{"10.1.2.3:81", true, nil},
		{"[::ffff:10.1.2.3]:80", true, nil},
		{"[fd00::1]:80", true, nil},
		{"10.2.0.1:443", false, errPrivate},
		{"[64:ff9b::a01:203]:443", false, errPrivate}, // allowed is the address itself
		{"93.184.215.14:443", false, nil},
		{"93.184.215.14:80", true, errPlain},
	}
	for _, tt := range tests {
		if got := g.check(netip.MustParseAddrPort(tt.at), tt.plain); !errors.Is(got, tt.want) {
			t.Errorf("check(%s, plain=%v) = %v, want %v", tt.at, tt.plain, got, tt.want)
		}
	}
}

// TestGuardDials makes sure that names are judged by what they resolve to, at
// the very moment of dialling.
func TestGuardDials(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	d := net.Dialer{Control: (&guard{}).control(false)}
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1", "0.0.0.0"} {
		conn, err := d.DialContext(context.Background(), "tcp", net.JoinHostPort(host, port))
		if !is[blockedError](err) {
			t.Errorf("dial %s = %v, want it blocked", host, err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestTargets(t *testing.T) {
	closed := &guard{}
	open := &guard{allowed: loopback}
	tests := []struct {
		url   string
		g     *guard
		taken bool
	}{
		{"https://app.example/hooks?key=1", closed, true},
		{"https://app.example:8443", closed, true},
		{"https://93.184.215.14/", closed, true},
		{"http://app.example/hooks", closed, false},
		{"http://app.example/hooks", open, true}, // judged when dialled
		{"http://127.0.0.1:8080/hooks", open, true},
		{"http://93.184.215.14/", open, false},
		{"https://127.0.0.1/", closed, false},
		{"https://[::1]/", closed, false},
		{"https://[64:ff9b::7f00:1]/", closed, false},
		{"https://93.184.215.14:22/", closed, false},
		{"https://user:pass@app.example/", closed, false},
		{"https://app.example/#x", closed, false},
		{"ftp://app.example/", closed, false},
		{"app.example/hooks", closed, false},
		{"https:///hooks", closed, false},
		{"https://app.example/%zz", closed, false},
		{"", closed, false},
	}
	for _, tt := range tests {
		_, err := parseTarget(tt.url, tt.g)
		var invalid *InvalidError
		if taken := err == nil; taken != tt.taken || !taken && !errors.As(err, &invalid) {
			t.Errorf("%q: %v, want taken %v", tt.url, err, tt.taken)
		}
	}
}
