package redis

import goredis "github.com/redis/go-redis/v9"

// Those of a Provider. Their keys have one hash tag, so that they run on a cluster.
const (
	// KEYS: view, leases. ARGV: the sum of the record that the caller has; it is not sent again. The sum is of
	// the record and not its write ID, so that an edit by hand is seen too.
	luaRead = `
local record = redis.call('HGET', KEYS[1], 'record')
local sum = record and redis.sha1hex(record) or ''
return {sum, sum ~= ARGV[1] and record, redis.call('HGETALL', KEYS[2])}
`
	// KEYS: view, leases. ARGV: the write ID that must be there ('' none), the record, its write ID, the channel,
	// how many join, those, those that leave. A write that is there already was sent again by a client that had
	// lost the answer. What may be forbidden comes first, so that a refusal leaves things as they were.
	luaWrite = `
local there = redis.call('HGET', KEYS[1], 'id') or ''
if there == ARGV[3] then return 1 end
if there ~= ARGV[1] then return 0 end
redis.call('PUBLISH', ARGV[4], ARGV[3])
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'id', ARGV[3])
for i = 6, #ARGV do
	if i < 6 + tonumber(ARGV[5]) then
		redis.call('HSET', KEYS[2], ARGV[i], '1')
	else
		redis.call('HDEL', KEYS[2], ARGV[i])
	end
end
return 1
`
	// KEYS: leases, view. ARGV: the member. A lease that was lost is made anew if the record lists the member.
	luaRenew = `
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
	local record = redis.call('HGET', KEYS[2], 'record')
	local ok, view = pcall(cjson.decode, record or '{}')
	local listed = false
	for _, m in ipairs(ok and type(view) == 'table' and type(view.members) == 'table' and view.members or {}) do
		listed = listed or type(m) == 'table' and m.id == ARGV[1]
	end
	if not listed then return 0 end
end
local n = tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', n + 1))
return 1
`
	// KEYS: leases, view. ARGV: the channel. It does what the others do, to nobody's harm, and says what is refused.
	luaCheck = `
for _, c in ipairs({
	{'hget', KEYS[2], 'id'}, {'hgetall', KEYS[1]}, {'hexists', KEYS[1], ''}, {'hset', KEYS[1], '', ''}, {'hdel', KEYS[1], ''},
	{'publish', ARGV[1], ''},
}) do
	local answer = redis.pcall(unpack(c))
	if type(answer) == 'table' and answer.err then
		return redis.error_reply(answer.err .. " (the command '" .. c[1] .. "')")
	end
end
return 1
`
)

var (
	readScript  = goredis.NewScript(luaRead)
	writeScript = goredis.NewScript(luaWrite)
	renewScript = goredis.NewScript(luaRenew)
	checkScript = goredis.NewScript(luaCheck)
)

// Those of a Store. Each script has one key, the hash of a group, so that it runs on a cluster. Compare and write are one
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
	luaItem = luaFence + `
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
	luaPut = luaItem + `
if there == ARGV[5] then return 'done' end
if at ~= '*' and at ~= there then return 'C' .. there end
redis.call('HSET', KEYS[1], field, ARGV[5] .. ARGV[6])
keep(ttl)
return 'done'
`
	luaDelete = luaItem + `
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
