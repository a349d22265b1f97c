-- KEYS: the stream. ARGV: the least place, how many writes, how many bytes of their values.
-- Ends with the value that reaches the bytes. A few at a time, as the server holds what it reads.
local least, writes, bytes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local entries = {}
while writes > 0 and bytes > 0 do
  local page = math.min(writes, 32)
  local read = redis.call('XRANGE', KEYS[1], least .. '-0', '+', 'COUNT', page)
  for _, entry in ipairs(read) do
    if bytes <= 0 then
      break
    end
    entries[#entries + 1] = entry
    bytes = bytes - #(entry[2][4] or '')
    least = string.format('%.0f', tonumber(string.match(entry[1], '^%d+')) + 1)
  end
  if #read < page then
    break
  end
  writes = writes - page
end
return entries
