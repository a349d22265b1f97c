-- Tells what stands there, and makes a note of a session that there is none of.
--
-- ARGV[3]: the note.
--
-- standing.lua is set in front of this.

if body then
  local left = redis.call('PTTL', body_key)
  if left < 0 then left = default_life end
  if not note then
    note = ARGV[3]
    put_note(note, left)
  elseif redis.call('PTTL', note_key) < left then
    put_note(note, left)
  end
end
return standing()
