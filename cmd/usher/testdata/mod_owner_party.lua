-- A plugin of ownership_test.go, which asks "is an owner here?" as
-- mod_token_owner_party of jitsi-contrib does: some time after the last owner has
-- left, everybody else is put out. It makes the first person an owner and lets the
-- focus make no more, as with enable-auto-owner = false and tokens.
--
-- It also writes down what usher's affiliation becomes and what usher asks for;
-- refuses the first request to record; makes usher an owner when somebody raises a
-- hand; and makes rooms whose name begins with "closed" members-only.
local jid = require "util.jid";
local st = require "util.stanza";

local usher, focus = "usher@hidden.meet.jitsi", "focus@auth.meet.jitsi";
local file = module:get_option_string("bench_post_file");
local refused = {};

local function note(...)
	local f = assert(io.open(file, "a"));
	f:write(table.concat({ ... }, " "), "\n");
	f:close();
end

local function person(bare) return bare ~= usher and bare ~= focus and not bare:match("@hidden%.meet%.jitsi$"); end

local function owner(room)
	for _, o in room:each_occupant() do
		if o.bare_jid ~= focus and room:get_affiliation(o.bare_jid) == "owner" then return o.bare_jid; end
	end
end

module:hook("muc-room-pre-create", function (event)
	if event.room.jid:match("^closed") then event.room:set_members_only(true); end
end);

module:hook("muc-occupant-pre-join", function (event)
	local room, bare = event.room, event.occupant.bare_jid;
	if bare == usher then
		note("joins", room:get_affiliation(bare) or "none");
	elseif bare ~= focus then
		local affiliation = not owner(room) and person(bare) and "owner" or "member";
		room:set_affiliation(true, bare, affiliation);
		event.occupant.role = room:get_default_role(affiliation); -- was chosen before
	end
end, 20);

module:hook("muc-pre-set-affiliation", function (event)
	if event.actor and jid.bare(event.actor) == focus then event.allowed = false; end
end);

module:hook("muc-set-affiliation", function (event)
	if event.jid == usher then note("is", event.affiliation); end
end);

module:hook("muc-occupant-pre-change", function (event)
	if event.stanza:get_child_text("jitsi_participant_raisedHand") then
		event.room:set_affiliation(true, usher, "owner");
	end
end);

module:hook("muc-occupant-left", function (event)
	local room = event.room;
	if room:get_affiliation(event.occupant.bare_jid) ~= "owner" or owner(room) then return; end
	module:add_timer(1, function ()
		if owner(room) then return; end
		for _, o in room:each_occupant() do
			if o.bare_jid ~= focus then room:set_role(true, o.nick, nil, "no owner is here"); end
		end
	end);
end);

module:hook("iq/full", function (event)
	local stanza = event.stanza;
	local from = jid.bare(stanza.attr.from);
	local command = stanza:get_child("jibri", "http://jitsi.org/protocol/jibri");
	if from == usher and command and stanza.attr.type == "set" then
		local room = jid.bare(stanza.attr.to);
		note("asks", command.attr.action);
		if not refused[room] then
			refused[room] = true;
			note("answered");
			event.origin.send(st.error_reply(stanza, "auth", "not-allowed"));
			return true;
		end
	elseif from == focus and jid.resource(stanza.attr.to) == "usher" and stanza.attr.type ~= "get" and stanza.attr.type ~= "set"
		and not stanza:get_child("query", "http://jabber.org/protocol/disco#info") then
		note("answered");
	end
end, 10);

module:hook("iq-set/bare/http://jabber.org/protocol/muc#admin:query", function (event)
	local item = event.stanza.tags[1]:get_child("item");
	if jid.bare(event.stanza.attr.from) == usher and item and item.attr.role == "none" then note("kicks"); end
end, 10);
