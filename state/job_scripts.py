"""The scripts of ``state.jobs``: each can be repeated without harm."""

from __future__ import annotations

from state.mail import REMEMBERED
from state.scripts import Script

_NOW = "local t = redis.call('TIME'); local now = math.floor(t[1] * 1000 + t[2] / 1000)\n"

_CANCELLED = """
local function cancelled(at, ttl)
  redis.call('HSET', KEYS[1], 'status', 'cancelled', 'finished', at)
  redis.call('HDEL', KEYS[1], 'lease', 'worker', 'cancel')
  redis.call('EXPIRE', KEYS[1], ttl)
end
"""

# KEYS job jobs | id, number, body, now, ttl, jobs kept -> {1 if new, status, created, the oldest of too many}
SUBMIT = Script(
    """
local new = redis.call('HSETNX', KEYS[1], 'body', ARGV[3])
if new == 1 then
  redis.call('HSET', KEYS[1], 'status', 'waiting', 'attempt', 1, 'created', ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
  redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
local many = redis.call('ZCARD', KEYS[2]) - ARGV[6]
local oldest = many > 0 and redis.call('ZRANGE', KEYS[2], 0, many - 1) or {}
return {new, redis.call('HGET', KEYS[1], 'status'), redis.call('HGET', KEYS[1], 'created'), oldest}
"""
)

# KEYS job jobs | worker, lease in ms, now, ttl, ttl when final
# -> {'run', field, value...}, {'busy', ms} or {'over', status}
START = Script(
    _NOW
    + _CANCELLED
    + """
local h = redis.call('HMGET', KEYS[1], 'status', 'cancel', 'worker', 'lease')
if h[1] ~= 'waiting' and h[1] ~= 'running' then return {'over', h[1] or ''} end
if h[1] == 'running' then
  if h[3] ~= ARGV[1] and tonumber(h[4]) > now then return {'busy', tonumber(h[4]) - now} end
  if h[2] then cancelled(ARGV[3], ARGV[5]); return {'over', 'cancelled'} end
end
if h[3] ~= ARGV[1] then
  redis.call('HINCRBY', KEYS[1], 'fence', 1)
  redis.call('HINCRBY', KEYS[1], 'starts', 1)
  redis.call('HDEL', KEYS[1], 'progress', 'note')
  redis.call('HSET', KEYS[1], 'status', 'running', 'worker', ARGV[1], 'started', ARGV[3],
    'lease', string.format('%.0f', now + ARGV[2]))
  redis.call('EXPIRE', KEYS[1], ARGV[4]); redis.call('EXPIRE', KEYS[2], ARGV[4])
end
local out = redis.call('HGETALL', KEYS[1])
table.insert(out, 1, 'run')
return out
"""
)

# KEYS job jobs mailbox mailed
# | fence, status, result, error, now, ttl when final, ttl of the list, delivery id, mail, ttl of mailed ids, ids kept
# -> 1, or 0 if the fence is old. What is absent is ''.
FINISH = Script(
    REMEMBERED
    + """
local ending = ARGV[1] .. ':' .. ARGV[2]
local h = redis.call('HMGET', KEYS[1], 'status', 'fence', 'ended', 'cancel')
if h[3] == ending then return 1 end
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return 0 end
local status = h[4] and 'cancelled' or ARGV[2]
redis.call('HSET', KEYS[1], 'status', status, 'finished', ARGV[5], 'ended', ending)
redis.call('HDEL', KEYS[1], 'lease', 'worker', 'cancel', 'error', 'note')
if status ~= 'cancelled' then
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'result', ARGV[3]) end
  if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[4]) end
  if status == 'done' then redis.call('HSET', KEYS[1], 'progress', 1) end
  if ARGV[8] ~= '' then
    redis.call('HSET', KEYS[1], 'answer', 'pending')
    if not remembered(KEYS[4], ARGV[8], ARGV[10], ARGV[11]) then redis.call('HSET', KEYS[3], ARGV[8], ARGV[9]) end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[6]); redis.call('EXPIRE', KEYS[2], ARGV[7])
return 1
"""
)

# KEYS job | fence, attempts to add (1: it failed, 0: it was given back unharmed), error or '', now, ttl when final
# -> 1, or 0 if the fence is old
AGAIN = Script(
    _CANCELLED
    + """
local ending = ARGV[1] .. ':again'
local h = redis.call('HMGET', KEYS[1], 'status', 'fence', 'ended', 'cancel')
if h[3] == ending then return 1 end
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'status', 'waiting', 'starts', 0, 'ended', ending)
redis.call('HINCRBY', KEYS[1], 'attempt', ARGV[2])
redis.call('HDEL', KEYS[1], 'lease', 'worker', 'progress', 'note')
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'error', ARGV[3]) end
if h[4] then cancelled(ARGV[4], ARGV[5]) end
return 1
"""
)

# KEYS job | fence, lease in ms, ttl -> 'lost', 'cancel' or 'ok'
RENEW = Script(
    _NOW
    + """
local h = redis.call('HMGET', KEYS[1], 'status', 'fence', 'cancel')
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return 'lost' end
redis.call('HSET', KEYS[1], 'lease', string.format('%.0f', now + ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[3])
return h[3] and 'cancel' or 'ok'
"""
)

# KEYS job | fence, share, note -> 1, or 0 if the fence is old
PROGRESS = Script(
    """
local h = redis.call('HMGET', KEYS[1], 'status', 'fence')
if h[1] ~= 'running' or h[2] ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'progress', ARGV[2], 'note', ARGV[3])
return 1
"""
)

# KEYS job | now, ttl when final -> status, or '' if unknown
CANCEL = Script(
    _NOW
    + _CANCELLED
    + """
local h = redis.call('HMGET', KEYS[1], 'status', 'lease')
if h[1] == 'waiting' or (h[1] == 'running' and tonumber(h[2]) < now) then
  cancelled(ARGV[1], ARGV[2])
  return 'cancelled'
end
if h[1] == 'running' then redis.call('HSET', KEYS[1], 'cancel', 1) end
return h[1] or ''
"""
)

# KEYS job | status, 1 if the answer may have been shown before
REPORT = Script(
    """
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HSET', KEYS[1], 'answer', ARGV[1])
  if ARGV[2] == '1' then redis.call('HSET', KEYS[1], 'repeated', 1) end
end
return 1
"""
)
