package token

// moderatorFeatures is what Jitsi lets a moderator do whose token has no
// context.features (mod_jitsi_permissions), and file-upload, which owners have.
// Once a token has any, only what it lists counts, so a host's lists all of
// them. A guest's says no to all, so that a site that makes the first person a
// moderator does not hand out the recorder as well.
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

// features returns context.features by role.
func features(host bool) map[string]string {
	value := "false"
	if host {
		value = "true"
	}
	all := make(map[string]string, len(moderatorFeatures))
	for _, name := range moderatorFeatures {
		all[name] = value
	}
	return all
}
