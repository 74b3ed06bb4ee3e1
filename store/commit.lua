-- Stores one change of one meeting, completely or not at all.
-- commit.go packs KEYS and ARGV in the order in which they are taken here;
-- keys.go says what each key holds.
--
-- Answers {'ok'}, {'fenced'}, {'reset'}, {'conflict', stored version},
-- {'exists', id} or {'held', until when in ms}.
--
-- Everything is checked before anything is written, because Redis does not
-- take back what a failing script has written. The first write needs memory:
-- a full Redis refuses it, and with it the whole script; once it is accepted
-- Redis lets the rest of the script pass.

local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end

local fence_key, epoch_key, meeting_key, events, rooms, open = key(), key(), key(), key(), key(), key()
local meetings, room_index, held, external_key, sessions = key(), key(), key(), key(), key()
local in_state = {created = key(), live = key(), ended = key()}

local fence, knows_epoch, op, from, whole = tonumber(arg()), arg() == '1', arg(), arg(), arg() == '1'
local id, version, state, holds_room, is_open, ended_at = arg(), arg(), arg(), arg() == '1', arg() == '1', arg()
local room, held_until, reuse_room, external, json = arg(), tonumber(arg()), arg() == '1', arg(), arg()
local retention, log_retention = tonumber(arg()), tonumber(arg())

local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function ms(n) return string.format('%.0f', n) end

if (tonumber(redis.call('GET', fence_key)) or 0) > fence then
  return {'fenced'}
end
local stored = redis.call('HMGET', meeting_key, 'version', 'op', 'state')
local stored_version, stored_op, stored_state = stored[1], stored[2], stored[3]
if stored_op == op then
  return {'ok'} -- a repetition
end
if not whole then
  if (stored_version or '0') ~= from then
    return {'conflict', stored_version or '0'}
  end
  if not stored_version then
    -- Of a store that was emptied nobody knows what rooms and ids are taken,
    -- until the leader has written anew what it holds (epoch.go).
    local epoch = redis.call('GET', epoch_key) or ''
    if epoch == '' and knows_epoch or string.sub(epoch, 1, 1) == '?' then
      return {'reset'}
    end
    local taken = redis.call('HGET', rooms, room)
      or (external ~= '' and redis.call('GET', external_key))
    if taken then
      return {'exists', taken}
    end
    local held_from_before = redis.call('GET', held)
    if held_from_before and not reuse_room then
      return {'held', held_from_before}
    end
  end
end

redis.call('HSET', meeting_key, 'json', json, 'version', version, 'op', op, 'state', state)

for _ = 1, tonumber(arg()) do
  local session_key, people_key = key(), key()
  local session, session_json, session_ended = arg(), arg(), arg()
  local people = {}
  for _ = 1, tonumber(arg()) do
    local participant = arg()
    people[participant] = arg()
  end
  if whole then
    -- Whoever was present for a store that has lost its latest changes, but
    -- is not at hand, has left since.
    local known = redis.call('HGETALL', people_key)
    for i = 1, #known, 2 do
      if not people[known[i]] and string.find(known[i + 1], '"connections":[', 1, true) then
        redis.call('HDEL', people_key, known[i])
      end
    end
  end
  for participant, participant_json in pairs(people) do
    redis.call('HSET', people_key, participant, participant_json)
  end
  if session_json ~= '' then
    redis.call('SET', session_key, session_json)
    redis.call('ZADD', sessions, session_ended == '' and '+inf' or session_ended, session)
    if session_ended ~= '' then
      redis.call('PEXPIRE', session_key, retention)
      redis.call('PEXPIRE', people_key, retention)
      redis.call('ZREMRANGEBYSCORE', sessions, '-inf', ms(now - retention))
    end
  end
end

if is_open and (whole or not stored_version or stored_state == 'ended') then
  redis.call('ZADD', open, 0, id) -- also one that was over, for a late file of a recording
end
if whole or not stored_version then
  redis.call('ZADD', meetings, 0, id)
  if holds_room then
    redis.call('HSETNX', rooms, room, id)
  end
  redis.call('ZREMRANGEBYSCORE', room_index, '-inf', ms(now - retention))
  redis.call('ZADD', room_index, '+inf', id)
  redis.call('PERSIST', room_index)
  if external ~= '' then
    redis.call('SET', external_key, id, 'NX')
  end
end
if whole or state ~= stored_state then
  if stored_state then
    redis.call('ZREM', in_state[stored_state], id)
  end
  redis.call('ZADD', in_state[state], state == 'ended' and ended_at or 0, id)
end
if not holds_room then
  if redis.call('HGET', rooms, room) == id then
    redis.call('HDEL', rooms, room)
    held_until = math.max(held_until, tonumber(redis.call('GET', held) or 0))
    if held_until > now then
      redis.call('SET', held, ms(held_until), 'PX', ms(held_until - now))
    end
  end
  if redis.call('ZSCORE', room_index, id) == 'inf' then
    redis.call('ZADD', room_index, ms(now), id)
  end
end

local recordings, recordings_of = key(), key()
for _ = 1, tonumber(arg()) do
  local recording_key = key()
  local recording, recording_json, requested, settled, named = arg(), arg(), arg(), arg() == '1', arg() == '1'
  redis.call('SET', recording_key, recording_json)
  if settled then
    redis.call('PEXPIRE', recording_key, retention)
  end
  if named then
    redis.call('SET', key(), recording, 'PX', retention)
  end
  redis.call('ZADD', recordings, requested, recording)
  redis.call('ZADD', recordings_of, requested, recording)
  -- What was asked for so long ago has expired, or is of a meeting without end.
  redis.call('ZREMRANGEBYSCORE', recordings, '-inf', ms(now - 2 * retention))
end

if not is_open then
  redis.call('ZREM', open, id)
  redis.call('PEXPIRE', recordings_of, retention)
  for _, kept in ipairs({meeting_key, external_key, sessions, room_index}) do
    redis.call('PEXPIRE', kept, retention)
  end
  -- A few at each closing are enough to keep up, as each adds only one.
  local past = redis.call('ZRANGEBYSCORE', in_state.ended, '-inf', ms(now - retention), 'LIMIT', 0, 10)
  if #past > 0 then
    redis.call('ZREM', in_state.ended, unpack(past))
    redis.call('ZREM', meetings, unpack(past))
  end
end

local told = {}
for i = 1, tonumber(arg()) do
  told[i] = arg()
  redis.call('XADD', events, 'MINID', '~', ms(now - log_retention), '*', 'notice', told[i])
end
local most = 1000 -- values of one call: unpack has a limit
for _ = 1, tonumber(arg()) do
  local batches, n = {}, tonumber(arg())
  for i = 0, n - 1 do
    if i % most == 0 then
      batches[#batches + 1] = {}
    end
    table.insert(batches[#batches], told[tonumber(arg())])
  end
  for _ = 1, tonumber(arg()) do
    local list, queued, length = key(), key(), 0
    for _, batch in ipairs(batches) do
      length = redis.call('RPUSH', list, unpack(batch))
    end
    if length == n then -- it was empty
      redis.call('SADD', queued, id)
    end
  end
end
return {'ok'}
