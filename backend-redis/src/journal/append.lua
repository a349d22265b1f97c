-- KEYS: the stream, the places of dead letters, the last place.
-- ARGV: how many there may be, then the key and the value of each write.
-- Returns the first place and how many writes were appended; each place is one more than the last.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place = math.max(now, tonumber(redis.call('GET', KEYS[3]) or '0') + 1)
local first = string.format('%.0f', place)
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1]) - redis.call('ZCARD', KEYS[2])
local count = math.max(0, math.min(room, (#ARGV - 1) / 2))
for write = 0, count - 1 do
  local id = string.format('%.0f-0', place + write)
  redis.call('XADD', KEYS[1], id, 'k', ARGV[2 + 2 * write], 'v', ARGV[3 + 2 * write])
end
if count > 0 then
  redis.call('SET', KEYS[3], string.format('%.0f', place + count - 1))
end
return { first, count }
