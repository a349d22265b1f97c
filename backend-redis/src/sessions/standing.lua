-- What stands under a session's key, in the bytes that frame.rs tells. It is the beginning of every
-- script here that changes a session.
--
-- KEYS[1]: the key. ARGV[1]: the microsecond it is.

local SESSION = 1
-- The length of a text that is absent.
local ABSENT = 4294967295
-- A hundred years in milliseconds: no key lives longer.
local LONGEST = 3153600000000

local key, now = KEYS[1], tonumber(ARGV[1])
local frame = redis.call('GET', key)

-- The time that is written at that place.
local function time(text, at) return (struct.unpack('<I8', text, at)) end

-- The place behind the text whose length is written at that place.
local function behind(at)
  local length = struct.unpack('<I4', frame, at)
  return at + 4 + (length == ABSENT and 0 or length)
end

-- What tells one write from all others.
local function version_of(text) return text:sub(5, 20) end

local readable = frame and #frame >= 28 and frame:sub(1, 2) == '\206\1'
local is_session = readable and frame:byte(3) == SESSION and #frame >= 52
local version = readable and version_of(frame)
local is_over = readable and time(frame, 21) <= now

local function put(new)
  local left = math.ceil((time(new, 21) - now) / 1000)
  redis.call('SET', key, new, 'PX', math.max(1, math.min(left, LONGEST)))
end
