-- Stands in for Jitsi's mod_reservations in tests and the demo; not part of
-- the product. Before a room opens, the conference request of a user of this
-- host waits until the reservation system has said yes:
--   POST <prefix>/conference    name, start_time, mail_owner (a form)
--   200 or 201                  {id, name, mail_owner, start_time, duration}
--   409                         {conflict_id}: ask GET <prefix>/conference/<id>
--   anything else               refused, with the JSON's message as text
-- Answers are remembered until the room is destroyed, which is reported by
-- DELETE <prefix>/conference/<id>, or until they are refusals half a minute old.
--
-- Left out: retries, and the end of a meeting when its duration is over.
-- Unlike the original, a refusal is forgotten after exactly half a minute; there
-- it can take up to 90 seconds.
local http = require "net.http";
local jid = require "util.jid";
local json = require "util.json";
local st = require "util.stanza";
local now = require "util.time".now;

local prefix = module:get_option_string("reservations_api_prefix");
local headers = module:get_option("reservations_api_headers") or {};
local timeout = module:get_option_number("reservations_api_timeout", 20); -- seconds
local main_muc = module:get_option_string("main_muc");
-- Of the site, not of this host: people of a guest host ask the same focus.
local focus = "focus." .. module:get_option_string("muc_mapper_domain_base");
local refusal_lasts = 30; -- seconds

if not prefix then
	module:log("error", "no reservations_api_prefix: rooms open without a question");
	return;
end

local xmlns_focus = "http://jitsi.org/protocol/focus";
local reservations = {}; -- by room JID: { waiting = events, id, or refusal and until }

local function request(method, path, body, callback)
	local all = { ["Content-Type"] = body and "application/x-www-form-urlencoded" or nil };
	for name, value in pairs(headers) do all[name] = value; end
	local options = { method = method, headers = all, body = body };
	local pending = http.request(prefix .. path, options, function (text, code)
		callback(code, json.decode(text or "") or {});
	end);
	module:add_timer(timeout, function () http.destroy_request(pending); end);
end

local function refuse(event, refusal)
	local reply = st.error_reply(event.stanza, "cancel", "service-unavailable", refusal.message);
	reply:get_child("error"):tag("reservation-error", { xmlns = xmlns_focus, ["error-code"] = tostring(refusal.code) });
	event.origin.send(reply);
end

local function settle(room, code, answer)
	local entry = reservations[room];
	local waiting = entry.waiting;
	entry.waiting = nil;
	if code == 200 or code == 201 then
		entry.id = answer.id;
		for _, event in ipairs(waiting) do
			event.origin.log("debug", "reserved: %s", room);
			prosody.core_post_stanza(event.origin, event.stanza, false);
		end
		return;
	end
	entry.refusal = { code = 403, message = answer.message or "Rejected by reservation server" };
	entry.until_time = now() + refusal_lasts;
	for _, event in ipairs(waiting) do refuse(event, entry.refusal); end
end

local function ask(room, entry, creator)
	local start = now();
	local seconds, fraction = math.floor(start), start % 1;
	local form = http.formencode({
		{ name = "name", value = jid.node(room) };
		{ name = "start_time", value = os.date("!%Y-%m-%dT%H:%M:%S", seconds) .. (".%03dZ"):format(fraction * 1000 // 1) };
		{ name = "mail_owner", value = creator };
	});
	request("POST", "/conference", form, function (code, answer)
		if reservations[room] ~= entry then return; end
		if code == 409 and answer.conflict_id then
			request("GET", "/conference/" .. answer.conflict_id, nil, function (...) settle(room, ...); end);
		else
			settle(room, code, answer);
		end
	end);
end

module:hook("pre-iq/host", function (event)
	local conference = event.stanza.attr.type == "set" and event.stanza:get_child("conference", xmlns_focus);
	if not conference or event.stanza.attr.to ~= focus then return; end
	local room = conference.attr.room;
	local muc = prosody.hosts[main_muc] and prosody.hosts[main_muc].modules.muc;
	if not room or muc.get_room_from_jid(room) then return; end

	local entry = reservations[room];
	if entry and entry.refusal and entry.until_time < now() then entry = nil; end
	if entry and entry.refusal then
		refuse(event, entry.refusal);
		return true;
	elseif entry and entry.id then
		return;
	elseif entry then
		table.insert(entry.waiting, event);
		return true;
	end
	entry = { waiting = { event } };
	reservations[room] = entry;
	ask(room, entry, jid.bare(event.stanza.attr.from));
	return true;
end);

local function room_destroyed(event)
	local entry = reservations[event.room.jid];
	if not entry or not entry.id then return; end
	reservations[event.room.jid] = nil;
	request("DELETE", "/conference/" .. entry.id, nil, function () end);
end

-- Prosody loads its hosts in no particular order.
local function watch_rooms(host)
	if host == main_muc then
		module:context(host):hook("muc-room-destroyed", room_destroyed);
	end
end
if prosody.hosts[main_muc] then
	watch_rooms(main_muc);
else
	module:hook_global("host-activated", watch_rooms);
end
