-- The other arm of `make bench`: the least that a module inside Prosody does to
-- tell an app of joins and leaves. It posts each as JSON over HTTP, on a
-- connection of its own, as Jitsi's community module event_sync does. It has no
-- retries, no signature, no queue, no state.
--
-- It posts while the file bench_post_file exists, to the URL in it, so that one
-- running Prosody can be measured with and without it.
local http = require "net.http";
local jid = require "util.jid";
local json = require "util.json";
local now = require "util.time".now;

local look_every = 0.1; -- seconds
local url;

module:add_timer(look_every, function ()
	local file = io.open(module:get_option_string("bench_post_file"));
	url = file and file:read("*a") or nil;
	if file then file:close(); end
	return look_every;
end);

local function post(kind)
	return function (event)
		if not url then return; end
		http.request(url, {
			method = "POST";
			headers = { ["Content-Type"] = "application/json" };
			body = json.encode({
				type = kind;
				timestamp = now();
				room_name = jid.node(event.room.jid);
				room_jid = event.room.jid;
				data = {
					participant = {
						endpoint_id = jid.resource(event.occupant.nick);
						occupant_jid = event.occupant.jid;
						name = event.stanza and event.stanza:get_child_text("nick", "http://jabber.org/protocol/nick");
					};
				};
			});
		}, function () end);
	end;
end

module:hook("muc-occupant-joined", post("participant.joined"));
module:hook("muc-occupant-left", post("participant.left"));
