-- The module `database`: SQL as a service. Another module that depends on it calls
--   services.call("database.sql", { sql = "select * from notes where id = ?", params = { 7 } })
-- and reaches its own tables; this module never learns another module's name from its arguments, only from the runtime.

local statement = require("lib/statement")
local slow = require("lib/slow")

-- The caller's name. The runtime itself, as in a test from the console, owns no tables.
local function caller_of(ctx)
	if not ctx.caller then
		error({ kind = "permission-denied", message = "database services are for modules: the runtime itself owns no tables" })
	end
	return ctx.caller
end

local function invalid(message: string)
	error({ kind = "invalid-argument", message = "database.sql: " .. message })
end

-- {sql, params?} → {rows} for a statement that answers rows, otherwise {changes, last_insert_id}.
local function sql(args, ctx)
	local caller = caller_of(ctx)
	if type(args) ~= "table" then
		invalid(`expected a map with sql and params, found {type(args)}`)
	end
	if type(args.sql) ~= "string" then
		invalid(`sql must be a string, found {type(args.sql)}`)
	end
	local params = args.params
	if params == nil then
		params = {}
	elseif type(params) ~= "table" then
		invalid(`params must be a list, found {type(params)}`)
	end
	local fault = statement.fault(args.sql)
	if fault then
		invalid(fault)
	end

	local started = time.now()
	local result = db.for_caller(args.sql, params)
	slow.note(caller, args.sql, time.now() - started)

	-- Rows come as a list, which has no `changes`.
	if result.changes ~= nil then
		return result
	end
	return { rows = result }
end

-- → the names of the caller's tables, in order.
local function tables(_, ctx)
	caller_of(ctx)
	local rows = db.for_caller(
		[[select name from sqlite_schema
		  where type = 'table' and name not like 'sqlite\_%' escape '\' and name not like '\_%' escape '\'
		  order by name]],
		{}
	)
	-- Named in place: a list that came from the host stays a list when it is empty, a new table would be a map.
	for index, row in rows do
		rows[index] = row.name
	end
	return rows
end

-- → the caller's slow statements, newest first, at most 50: {sql, millis, at}.
local function slow_statements(_, ctx)
	return slow.of(caller_of(ctx))
end

return {
	health = function()
		db.query("select 1 as one")
		return { status = "healthy" }
	end,

	services = {
		["database.sql"] = sql,
		["database.tables"] = tables,
		["database.slow"] = slow_statements,
	},
}
