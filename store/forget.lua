-- Deletes everything about a meeting. forget.go packs KEYS; keys.go says what each
-- key holds. ARGV: its id and its room. It needs no memory.

local meeting, external, sessions, session, people = unpack(KEYS, 1, 5)
local recordings_of, recordings, recording, rooms = unpack(KEYS, 6, 9)

for _, id in ipairs(redis.call('ZRANGE', sessions, 0, -1)) do
  redis.call('UNLINK', session .. id, people .. id)
end
for _, id in ipairs(redis.call('ZRANGE', recordings_of, 0, -1)) do
  redis.call('UNLINK', recording .. id)
  redis.call('ZREM', recordings, id)
end
if redis.call('HGET', rooms, ARGV[2]) == ARGV[1] then -- else another meeting has it by now
  redis.call('HDEL', rooms, ARGV[2])
end
for i = 10, #KEYS do -- indexes
  redis.call('ZREM', KEYS[i], ARGV[1])
end
redis.call('UNLINK', sessions, recordings_of, external, meeting)
return 1
