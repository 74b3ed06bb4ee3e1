package config

// Jitsi is the site as people who join see it, and what lets them in. Without
// JWTSecret and JWTKeyFile usher makes no tokens.
type Jitsi struct {
	XMPPDomain string `name:"xmpp-domain" default:"meet.jitsi" help:"XMPP domain of the site."`
	SiteURL    string `name:"site-url" help:"URL of the Jitsi site: where links lead, and where to check that its web client hides usher's occupant."`

	JWTAppID    string `name:"jwt-app-id" help:"Prosody's app_id (JWT_APP_ID), the issuer of tokens."`
	JWTSecret   Secret `name:"jwt-secret" help:"Prosody's app_secret (JWT_APP_SECRET), at least 32 bytes: tokens are signed with HS256."`
	JWTKeyFile  string `name:"jwt-key-file" help:"PEM file with an RSA private key instead of the secret: tokens are signed with RS256."`
	JWTAudience string `name:"jwt-audience" default:"jitsi" help:"Audience of tokens, one of Prosody's asap_accepted_audiences (JWT_ACCEPTED_AUDIENCES)."`
}

// MakesTokens reports whether there is something to sign tokens with.
func (j Jitsi) MakesTokens() bool { return j.JWTSecret != "" || j.JWTKeyFile != "" }
