-- KEYS: the places of dead letters, those to be tried again. ARGV: a place.
local key = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])[1]
if not key then
  return 0
end
redis.call('ZADD', KEYS[2], ARGV[1], key)
return 1
