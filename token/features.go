package token

import (
	"slices"
	"strconv"
)

// moderatorFeatures is what Jitsi lets a moderator do whose token has no
// context.features (mod_jitsi_permissions), and file-upload, which owners have.
// Once a token has any, only what it lists counts, so a host's lists all of
// them. A guest's says no to those that cost the site or reach out of the
// meeting, so that a site that makes the first person a moderator does not hand
// out the recorder as well; taking part in the conversation is everybody's.
var moderatorFeatures = []string{
	"create-polls", "file-upload", "flip", "live-translation", "livestreaming", "outbound-call",
	"recording", "send-groupchat", "send-private-message", "transcription",
}

// otherFeatures are the remaining names that the web client knows
// (react/features/base/jwt/constants.ts).
var otherFeatures = []string{
	"branding", "calendar", "inbound-call", "list-visitors", "lobby", "moderation", "room",
	"screen-sharing", "sip-inbound-call", "sip-outbound-call",
}

// lobbyBypass lets somebody past a lobby (mod_token_lobby_bypass of
// jitsi-contrib). The plugin takes true, and not the text, for it.
const lobbyBypass = "lobby_bypass"

// guestFeatures are those of them that guests have as well.
var guestFeatures = []string{"create-polls", "flip", "send-groupchat", "send-private-message"}

// features returns context.features by role.
func features(host, passesLobby bool) map[string]any {
	all := make(map[string]any, len(moderatorFeatures))
	for _, name := range moderatorFeatures {
		all[name] = strconv.FormatBool(host || slices.Contains(guestFeatures, name))
	}
	if passesLobby {
		all[lobbyBypass] = true
	}
	return all
}
