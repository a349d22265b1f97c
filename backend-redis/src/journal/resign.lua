-- KEYS: the leader. ARGV: the flusher and its term.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
