-- Ends a session.
--
-- ARGV[2]: the tombstone to leave, or nothing to leave none; ARGV[3]: the version expected, or
-- nothing for any; ARGV[4]: the user expected, as in the frame, or nothing for any.
-- Answers with whether its time was not over yet, and its user as in the frame; with 0 where it is
-- another user's; or with what stands there.
--
-- standing.lua is set in front of this.

local any = ARGV[3] == ''
-- Left by the same call, whose answer was lost.
if readable and not is_session and version == version_of(ARGV[2]) then return { 1, '' } end
if not frame or (readable and not is_session) then return frame end
if not any and (not is_session or is_over or version ~= ARGV[3]) then return frame end
local user = is_session and frame:sub(45, behind(45) - 1) or ''
-- What cannot be read ends as well: nothing else would end it.
if is_session and ARGV[4] ~= '' and user ~= ARGV[4] then return 0 end
if ARGV[2] == '' then redis.call('DEL', key) else put(ARGV[2]) end
-- By another clock it may not be over.
return { (readable and is_over) and 0 or 1, user }
