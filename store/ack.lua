-- Stores what came of deliveries to one endpoint: removes what is done from its
-- lists, keeps what retries need, and adds to the delivery log.
-- queues.go packs KEYS and ARGV in the order in which they are taken here;
-- keys.go says what each key holds. Answers 1, or 0 when another process leads.

local k, a = 0, 0
local function key() k = k + 1; return KEYS[k] end
local function arg() a = a + 1; return ARGV[a] end

local fence_key, queued, retry, log, dead = key(), key(), key(), key(), key()
local fence, retention, log_length = tonumber(arg()), tonumber(arg()), arg()

if (tonumber(redis.call('GET', fence_key)) or 0) > fence then
  return 0
end
-- A full Redis refuses a script whose first write needs memory. This write needs
-- none, so lists can be emptied even then.
redis.call('HDEL', retry, '')

-- An event is named by its id, or is its own name when it has none.
local function is(event, name, start)
  return event and (string.sub(event, 1, #start) == start or event == name)
end

-- Returns how many events at the beginning of a list are done. Most of the time
-- the list is as the sender knows it; not if this is a repetition.
local function done(list, name, count)
  local start = '{"id":"' .. name .. '"'
  if is(redis.call('LINDEX', list, count - 1), name, start) then
    return count
  end
  local first, size = 0, 64
  while true do
    local some = redis.call('LRANGE', list, first, first + size - 1)
    for i, event in ipairs(some) do
      if is(event, name, start) then
        return first + i
      end
    end
    if #some < size then
      return 0
    end
    first = first + size
  end
end

for _ = 1, tonumber(arg()) do
  local list, meeting, name, count = key(), arg(), arg(), tonumber(arg())
  local n = done(list, name, count)
  if n > 0 then
    redis.call('LTRIM', list, n, -1)
  end
  if redis.call('EXISTS', list) == 0 then
    redis.call('SREM', queued, meeting)
  end
end

for _ = 1, tonumber(arg()) do
  local field, value = arg(), arg()
  if value == '' then
    redis.call('HDEL', retry, field)
  else
    redis.call('HSET', retry, field, value)
  end
end

local t = redis.call('TIME')
local oldest = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) - retention)
for _ = 1, tonumber(arg()) do
  local record, event, is_dead = arg(), arg(), arg() == '1'
  redis.call('XADD', log, 'MAXLEN', '~', log_length, '*', 'record', record, 'notice', event)
  if is_dead then
    redis.call('XADD', dead, 'MINID', '~', oldest, '*', 'record', record, 'notice', event)
  end
end
return 1
