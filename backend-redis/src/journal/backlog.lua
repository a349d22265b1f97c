-- KEYS: the stream, the places of dead letters, those to be tried again.
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {
  redis.call('XLEN', KEYS[1]), redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
  first and first[1] or ''
}
