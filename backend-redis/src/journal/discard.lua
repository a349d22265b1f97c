-- KEYS: the places of dead letters, those to be tried again, the dead letters. ARGV: a place.
local key = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])[1]
if not key then
  return 0
end
redis.call('ZREM', KEYS[1], key)
redis.call('ZREM', KEYS[2], key)
redis.call('HDEL', KEYS[3], key)
return 1
