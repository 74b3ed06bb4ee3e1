package stack

// The names of the site that the local Prosody serves: docker-jitsi-meet's
// defaults, and ours.
const (
	Domain            = "meet.jitsi"              // people, anonymous or with a token
	GuestDomain       = "guest.meet.jitsi"        // people without a login, whose claims no module takes away
	AuthDomain        = "auth.meet.jitsi"         // focus, bridges, Jibris
	HiddenDomain      = "hidden.meet.jitsi"       // occupants that web clients do not show
	MUCDomain         = "muc.meet.jitsi"          // the rooms of meetings
	InternalMUCDomain = "internal-muc.meet.jitsi" // the breweries
	FocusDomain       = "focus.meet.jitsi"        // takes conference requests
	ComponentDomain   = "usher.meet.jitsi"        // usher's external component
	CrowdDomain       = "crowd.meet.jitsi"        // a component that plays many people at once
)

// Brewery is the room in which the local site's Jibris wait, and BridgeBrewery that
// of its video bridges.
const (
	Brewery       = "jibribrewery@" + InternalMUCDomain
	BridgeBrewery = "jvbbrewery@" + InternalMUCDomain
)

// What the local site's parts log in with. They protect nothing but tests and
// a demo on loopback.
const (
	ComponentSecret  = "usher-component"
	FocusSecret      = "focus-component"
	CrowdSecret      = "crowd-component"
	JWTAppID         = "usher-local"
	JWTAppSecret     = "usher-local-jwt-secret-of-32-chars" //nolint:gosec // see above
	ReservationToken = "usher-reservation"                  //nolint:gosec // see above
)

// Account is an XMPP login of the local site.
type Account struct {
	User, Domain, Password string
}

// JID returns the account's bare address.
func (a Account) JID() string { return a.User + "@" + a.Domain }

// The accounts of the local site.
var (
	Focus    = Account{"focus", AuthDomain, "focus-password"}
	JVB      = Account{"jvb", AuthDomain, "jvb-password"}
	Jibri    = Account{"jibri", AuthDomain, "jibri-password"}
	Recorder = Account{"recorder", HiddenDomain, "recorder-password"}
	Usher    = Account{"usher", HiddenDomain, "usher-password"}
	Watcher  = Account{"usher", AuthDomain, "watcher-password"} // usher's, in the brewery
	Jigasi   = Account{"jigasi", AuthDomain, "jigasi-password"}
)

var accounts = []Account{Focus, JVB, Jibri, Recorder, Usher, Watcher, Jigasi}
