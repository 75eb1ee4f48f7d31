package redis

import goredis "github.com/redis/go-redis/v9"

// Each script has one key, the hash of a group, so that it runs on a cluster. Compare and write are one
// step. Tokens are compared byte by byte: Lua's own order of texts is that of the server's locale.
const (
	luaFence = `
local function below(a, b)
	for i = 1, 32 do
		local x, y = string.byte(a, i), string.byte(b, i)
		if x ~= y then return x < y end
	end
	return false
end
local function claim(token)
	local greatest = redis.call('HGET', KEYS[1], 'c')
	if greatest and below(token, greatest) then return greatest end
end
local function keep(ttl)
	if ttl ~= '0' then redis.call('PEXPIRE', KEYS[1], ttl) end
end
`
	// ARGV: field, revision ('' absent, '*' any), token ('' none), TTL in ms.
	luaCheck = luaFence + `
local field, at, token, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if token ~= '' then
	local greatest = claim(token)
	if greatest then return 'F' .. greatest end
end
local there = redis.call('HGET', KEYS[1], field)
there = there and string.sub(there, 1, 16) or ''
`
	// ARGV also: the new revision, the value. A record with the new revision is of this very call, sent
	// again by a client that had lost the answer.
	luaPut = luaCheck + `
if there == ARGV[5] then return 'done' end
if at ~= '*' and at ~= there then return 'C' .. there end
redis.call('HSET', KEYS[1], field, ARGV[5] .. ARGV[6])
keep(ttl)
return 'done'
`
	luaDelete = luaCheck + `
if at ~= '*' and at ~= there then return 'C' .. there end
if there ~= '' then redis.call('HDEL', KEYS[1], field) end
return 'done'
`
	// ARGV: token, TTL in ms.
	luaClaim = luaFence + `
local greatest = claim(ARGV[1])
if greatest then return 'F' .. greatest end
redis.call('HSET', KEYS[1], 'c', ARGV[1])
keep(ARGV[2])
return 'done'
`
)

var (
	putScript    = goredis.NewScript(luaPut)
	deleteScript = goredis.NewScript(luaDelete)
	claimScript  = goredis.NewScript(luaClaim)
)
