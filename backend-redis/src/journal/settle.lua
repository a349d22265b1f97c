-- KEYS: the leader, the stream, the dead letters, their places, those to be tried again.
-- ARGV: the flusher and its term; then for each key: the key, how many writes, their places, and the
-- dead letter of the last, or nothing.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
local at = 2
while at <= #ARGV do
  local key, count = ARGV[at], tonumber(ARGV[at + 1])
  for place = at + 2, at + 1 + count do
    redis.call('XDEL', KEYS[2], ARGV[place] .. '-0')
  end
  local newest, letter = ARGV[at + 1 + count], ARGV[at + 2 + count]
  local buried = redis.call('ZSCORE', KEYS[4], key)
  if not buried or tonumber(buried) <= tonumber(newest) then
    if buried then
      redis.call('HDEL', KEYS[3], key)
      redis.call('ZREM', KEYS[4], key)
      redis.call('ZREM', KEYS[5], key)
    end
    if letter ~= '' then
      redis.call('HSET', KEYS[3], key, letter)
      redis.call('ZADD', KEYS[4], newest, key)
    end
  end
  at = at + 3 + count
end
return 1
