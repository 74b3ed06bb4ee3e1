package app

import (
	"errors"
	"fmt"
	"os"

	"usher/config"
	"usher/token"
)

// NewIssuer returns the issuer of the site's tokens.
func NewIssuer(cfg config.Jitsi) (*token.Issuer, error) {
	key, err := SigningKey(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.JWTAppID == "" {
		return nil, errors.New("jwt-app-id is missing")
	}
	return token.NewIssuer(JitsiSite(cfg), key)
}

// JitsiSite returns what tokens of the site hold beside their claims.
func JitsiSite(cfg config.Jitsi) token.Site {
	return token.Site{AppID: cfg.JWTAppID, Audience: cfg.JWTAudience, Domain: cfg.XMPPDomain}
}

// SigningKey returns the key that the site's tokens are signed with.
func SigningKey(cfg config.Jitsi) (key *token.Key, err error) {
	setting := "jwt-secret"
	switch {
	case cfg.JWTSecret != "" && cfg.JWTKeyFile != "":
		return nil, errors.New("jwt-secret and jwt-key-file are both set: Prosody takes one algorithm")
	case cfg.JWTSecret != "":
		key, err = token.SecretKey(string(cfg.JWTSecret))
	case cfg.JWTKeyFile != "":
		setting = "jwt-key-file"
		var private []byte
		if private, err = os.ReadFile(cfg.JWTKeyFile); err == nil {
			key, err = token.RSAKey(private)
		}
	default:
		return nil, errors.New("jwt-secret or jwt-key-file is missing: there is nothing to sign tokens with")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	return key, nil
}
