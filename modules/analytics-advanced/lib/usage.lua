-- How often the apis are called. Counting never fails a request.

local usage = {}

local DAYS_KEPT = 90

function usage.today(): string
	return string.sub(time.format(time.now()), 1, 10)
end

function usage.count(endpoint: string)
	local ok, problem = pcall(
		db.execute,
		[[insert into request_counts (day, endpoint, requests) values (?, ?, 1)
		  on conflict (day, endpoint) do update set requests = requests + 1]],
		{ usage.today(), endpoint }
	)
	if not ok then
		log.warn("a request could not be counted", { endpoint = endpoint, problem = tostring(problem) })
	end
end

-- A handler that counts its requests before it answers them.
function usage.counted(endpoint: string, handler)
	return function(req, ctx)
		usage.count(endpoint)
		return handler(req, ctx)
	end
end

-- Drops the counts of long ago.
function usage.prune()
	local oldest = string.sub(time.format(time.now() - DAYS_KEPT * 86400000), 1, 10)
	db.execute("delete from request_counts where day < ?", { oldest })
end

return usage
