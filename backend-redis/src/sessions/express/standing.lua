-- What stands for a session that is shared with express-session. It is the beginning of every
-- script here.
--
-- KEYS[1]: the session, as connect-redis has it: a JSON text. KEYS[2]: what Larder keeps of it
-- beside, a frame as frame.rs tells, without values; or a tombstone. ARGV[1]: the microsecond it is.
-- ARGV[2]: how many milliseconds a session lives whose cookie does not say.

-- In milliseconds: a hundred years, longer than any key lives; and what is kept for requests that
-- are under way.
local LONGEST, SPARE = 3153600000000, 300000

local body_key, note_key = KEYS[1], KEYS[2]
local now, default_life = tonumber(ARGV[1]), tonumber(ARGV[2])
local body, note = redis.call('GET', body_key), redis.call('GET', note_key)

-- What tells one write from all others.
local function version_of(frame) return frame:sub(5, 20) end

local is_readable = note and #note >= 28 and note:sub(1, 2) == '\206\1'
local has_ended = is_readable and note:byte(3) == 2
-- Written by a request that was under way when the session ended here, and knew nothing of it.
local is_revived = body and has_ended
if is_revived then
  redis.call('DEL', body_key)
  body = false
end

local function standing()
  local left = body and redis.call('PTTL', body_key) or 0
  return { body, note, left, body and redis.sha1hex(body) or '', is_revived and 1 or 0 }
end

-- Whether it is still in the state of that version.
local function is_unchanged(token, sum)
  local standing_token = is_readable and version_of(note) or ''
  return body and token == standing_token and sum == redis.sha1hex(body)
end

-- For how many milliseconds after a use the other service lets the session live.
local function life()
  local is_json, session = pcall(cjson.decode, body or '')
  local cookie = is_json and type(session) == 'table' and session.cookie
  return type(cookie) == 'table' and tonumber(cookie.originalMaxAge) or default_life
end

local function for_millis(key, value, millis)
  redis.call('SET', key, value, 'PX', math.max(1, math.min(math.ceil(millis), LONGEST)))
end

-- Nobody tells the note when the other service lets the session live on.
local function put_note(frame, left)
  for_millis(note_key, frame, 2 * left + SPARE)
end

local function left_until_end_of(frame)
  return (struct.unpack('<I8', frame, 21) - now) / 1000
end

local function put(new, frame)
  local left = left_until_end_of(frame)
  for_millis(body_key, new, left)
  put_note(frame, math.max(0, left))
  return redis.sha1hex(new)
end
