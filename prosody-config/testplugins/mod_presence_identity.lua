-- Stands in for Jitsi's mod_presence_identity in tests and the demo; not part
-- of the product. Who somebody is, is what the token says: the server writes
-- <identity><user><id/><name/>…</user></identity> into every presence of a
-- session with a token, and takes out what a client wrote itself.
local st = require "util.stanza";

local function assert_identity(event)
	local session, presence = event.origin, event.stanza;
	presence:maptags(function (tag)
		return tag.name ~= "identity" and tag or nil;
	end);
	local user = session.jitsi_meet_context_user;
	if not user then return; end
	local identity = st.stanza("identity"):tag("user");
	for key, value in pairs(user) do
		identity:text_tag(key, tostring(value));
	end
	presence:add_child(identity:reset());
end

module:hook("pre-presence/full", assert_identity);
module:hook("pre-presence/bare", assert_identity);
