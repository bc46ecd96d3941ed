-- Statements that took long, so that whoever owns them can find out which need an index.

local slow = {}

-- How many are kept for all modules together, and how many one answer holds.
local KEPT = 500
local SHOWN = 50

-- Remembers a statement if it took at least `slowMillis`. Never fails: the statement itself has already succeeded.
function slow.note(module: string, sql: string, millis: number)
	if millis < config.get("slowMillis") then
		return
	end
	local ok, problem = pcall(db.transaction, {
		{
			sql = "insert into slow_statements (module, sql, millis, at) values (?, ?, ?, ?)",
			params = { module, sql, math.floor(millis), time.now() },
		},
		{
			sql = "delete from slow_statements where id <= (select max(id) from slow_statements) - ?",
			params = { KEPT },
		},
	})
	if not ok then
		log.warn("a slow statement could not be remembered", { module = module, problem = tostring(problem) })
	end
end

-- The newest slow statements of one module.
function slow.of(module: string)
	return db.query(
		"select sql, millis, at from slow_statements where module = ? order by id desc limit ?",
		{ module, SHOWN }
	)
end

return slow
