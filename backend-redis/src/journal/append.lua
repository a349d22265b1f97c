-- KEYS: the stream, the places of dead letters, the last place.
-- ARGV: how many there may be, then the key and the value of each write.
-- Returns the first place and how many writes were appended; each place is one more than the last.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place = math.max(now, tonumber(redis.call('GET', KEYS[3]) or '0') + 1)
local first = string.format('%.0f', place)
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1]) - redis.call('ZCARD', KEYS[2])
local count = math.max(0, math.min(room, (#ARGV - 1) / 2))
-- To print a number this large takes a good part of the time of an `XADD`: most of it is printed once.
local call, stream, format = redis.call, KEYS[1], string.format
local low = place % 1000000
local id = format('%.0f', (place - low) / 1000000) .. '%06d-0'
for write = 0, count - 1 do
  if low == 1000000 then
    low = 0
    id = format('%.0f', (place + write) / 1000000) .. '%06d-0'
  end
  call('XADD', stream, format(id, low), 'k', ARGV[2 + 2 * write], 'v', ARGV[3 + 2 * write])
  low = low + 1
end
if count > 0 then
  redis.call('SET', KEYS[3], string.format('%.0f', place + count - 1))
end
return { first, count }
