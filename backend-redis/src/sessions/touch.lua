-- Notes a use of a session, where its user is the one expected: the caller has put it into that
-- user's index.
--
-- ARGV[2]: the user, as in the frame; ARGV[3]: when it was used, ARGV[4]: where, ARGV[5]: when it
-- ends now, each as in the frame. Answers 1, or with what stands there.
--
-- standing.lua is set in front of this.

if not is_session or is_over then return frame end
local place = behind(45)
if frame:sub(45, place - 1) ~= ARGV[2] then return frame end
local rest = behind(place)
local seen, from, ends = frame:sub(37, 44), frame:sub(place, rest - 1), frame:sub(21, 28)
if time(seen, 1) <= time(ARGV[3], 1) then seen, from = ARGV[3], ARGV[4] end
if time(ends, 1) < time(ARGV[5], 1) then ends = ARGV[5] end
put(frame:sub(1, 20) .. ends .. frame:sub(29, 36) .. seen .. ARGV[2] .. from .. frame:sub(rest))
return 1
